/* The standard protocols: health, as probes and watchers see it, and reflection, as generic clients do. */

#include "admin_fixture.h"

#include "descriptor_set.h"
#include "grpc/health/v1/health.pb-c.h"
#include "grpc/reflection/v1/reflection.pb-c.h"

#define CHECK_PATH "/grpc.health.v1.Health/Check"
#define WATCH_PATH "/grpc.health.v1.Health/Watch"
#define V1         "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
#define V1ALPHA    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"

/* ---- health ---- */

static struct grpc_call *ask_health(struct fixture *f, const char *path, const char *service)
{
    Grpc__Health__V1__HealthCheckRequest request;

    grpc__health__v1__health_check_request__init(&request);
    request.service = TEXT(service);
    return fixture_ask(f, path, &request.base);
}

static int health_answer(const struct grpc_call *call, unsigned i)
{
    Grpc__Health__V1__HealthCheckResponse *r =
        fake_answer(call, i, &grpc__health__v1__health_check_response__descriptor);
    int status = (int)r->status;

    grpc__health__v1__health_check_response__free_unpacked(r, NULL);
    return status;
}

static void expect_health(struct fixture *f, int status)
{
    static const char *const services[] = {"", "mc_proxy.v1.ProxyAdminService"};

    for (unsigned i = 0; i < 2; i++) {
        struct grpc_call *call = ask_health(f, CHECK_PATH, services[i]);
        expect_status(call, GRPC_OK, "");
        assert_int_equal(health_answer(call, 0), status);
        fake_free(call);
    }
}

static void test_health_follows_the_phases(void **state)
{
    struct fixture *f = *state;

    expect_health(f, 2);
    admin_set_phase(f->admin, ADMIN_SERVING);
    expect_health(f, 1);
    admin_set_phase(f->admin, ADMIN_DRAINING);
    expect_health(f, 2);
    admin_set_phase(f->admin, ADMIN_SERVING); /* the last worker is ready after the stop began */
    expect_health(f, 2);
}

static void test_an_unknown_service_is_not_found(void **state)
{
    struct grpc_call *call = ask_health(*state, CHECK_PATH, "mc_proxy.v1.Other");

    expect_status(call, GRPC_NOT_FOUND, "service: ");
    fake_free(call);
}

static void test_watchers_hear_of_every_change_once(void **state)
{
    struct fixture *f = *state;
    struct grpc_call *watch[3];

    for (unsigned i = 0; i < 3; i++)
        watch[i] = ask_health(f, WATCH_PATH, i == 2 ? "unknown" : "");
    admin_set_phase(f->admin, ADMIN_SERVING);
    admin_set_phase(f->admin, ADMIN_SERVING);
    fake_free(watch[1]); /* cancelled */
    admin_set_phase(f->admin, ADMIN_DRAINING);
    assert_int_equal(watch[0]->answer_count, 3);
    assert_int_equal(health_answer(watch[0], 0), 2);
    assert_int_equal(health_answer(watch[0], 1), 1);
    assert_int_equal(health_answer(watch[0], 2), 2);
    assert_int_equal(watch[2]->answer_count, 1);
    assert_int_equal(health_answer(watch[2], 0), 3);
    assert_false(watch[0]->is_finished);
    admin_end_streams(f->admin);
    for (unsigned i = 0; i < 3; i += 2) {
        assert_true(watch[i]->is_finished);
        assert_int_equal(watch[i]->status, GRPC_UNAVAILABLE);
        fake_free(watch[i]);
    }
    assert_int_equal(f->log.len, 0); /* a stop is no failure */
}

static void test_a_watcher_without_memory_is_let_go(void **state)
{
    struct fixture *f = *state;
    struct grpc_call *watch = ask_health(f, WATCH_PATH, "");

    watch->memory_left = 0;
    admin_set_phase(f->admin, ADMIN_SERVING);
    assert_int_equal(watch->status, GRPC_RESOURCE_EXHAUSTED);
    admin_set_phase(f->admin, ADMIN_DRAINING); /* finished, but not gone yet: left alone */
    admin_end_streams(f->admin);
    fake_free(watch);
}

/* ---- reflection ---- */

typedef Grpc__Reflection__V1__ServerReflectionRequest question;
typedef Grpc__Reflection__V1__ServerReflectionResponse answer;
#define QUESTION(name) GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_##name
#define ANSWER(name)   GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_##name

static answer *reflect(struct grpc_call *call, int kind, const char *text)
{
    question q;
    Grpc__Reflection__V1__ExtensionRequest extension;
    unsigned i = call->answer_count;

    grpc__reflection__v1__server_reflection_request__init(&q);
    grpc__reflection__v1__extension_request__init(&extension);
    q.host = TEXT("a host");
    q.message_request_case = kind;
    extension.containing_type = TEXT(text);
    if (kind == QUESTION(FILE_CONTAINING_EXTENSION))
        q.file_containing_extension = &extension;
    else
        q.file_by_filename = TEXT(text);
    fake_receive_message(call, &q.base);
    assert_false(call->is_finished);
    answer *a = fake_answer(call, i, &grpc__reflection__v1__server_reflection_response__descriptor);
    assert_string_equal(a->valid_host, "a host");
    assert_int_equal(a->original_request->message_request_case, kind);
    return a;
}

static void test_questions_and_their_answers(void **state)
{
    struct fixture *f = *state;
    static const struct {
        int kind;
        const char *text;
        int answer;
        size_t number; /* of files, of services; the code of an error */
    } rows[] = {
        {QUESTION(FILE_BY_FILENAME), "mc_proxy/v1/admin.proto", ANSWER(FILE_DESCRIPTOR_RESPONSE), 2},
        /* the import was sent before, the file itself is asked for again */
        {QUESTION(FILE_CONTAINING_SYMBOL), "mc_proxy.v1.ProxyAdminService.AddRoute", ANSWER(FILE_DESCRIPTOR_RESPONSE),
         1},
        {QUESTION(FILE_CONTAINING_SYMBOL), "grpc.health.v1.Health", ANSWER(FILE_DESCRIPTOR_RESPONSE), 1},
        {QUESTION(FILE_BY_FILENAME), "nothing.proto", ANSWER(ERROR_RESPONSE), 5},
        {QUESTION(FILE_CONTAINING_SYMBOL), "mc_proxy.v1.Nothing", ANSWER(ERROR_RESPONSE), 5},
        {QUESTION(FILE_CONTAINING_EXTENSION), "mc_proxy.v1.Route", ANSWER(ERROR_RESPONSE), 5},
        {QUESTION(ALL_EXTENSION_NUMBERS_OF_TYPE), "mc_proxy.v1.Route", ANSWER(ALL_EXTENSION_NUMBERS_RESPONSE), 0},
        {QUESTION(ALL_EXTENSION_NUMBERS_OF_TYPE), "mc_proxy.v1.Nothing", ANSWER(ERROR_RESPONSE), 5},
        {QUESTION(ALL_EXTENSION_NUMBERS_OF_TYPE), "mc_proxy.v1.ProxyAdminService", ANSWER(ERROR_RESPONSE), 5},
        {QUESTION(LIST_SERVICES), "", ANSWER(LIST_SERVICES_RESPONSE), 4},
        {0, NULL, ANSWER(ERROR_RESPONSE), 3},
    };
    static const char *const paths[] = {V1, V1ALPHA};

    for (unsigned p = 0; p < 2; p++) {
        struct grpc_call *call = fixture_call(f, paths[p]);
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            answer *a = reflect(call, rows[i].kind, rows[i].text);
            int kind = (int)a->message_response_case;
            if (kind != rows[i].answer)
                fail_msg("row %zu: answer %d", i, kind);
            size_t number =
                kind == ANSWER(FILE_DESCRIPTOR_RESPONSE) ? a->file_descriptor_response->n_file_descriptor_proto
                : kind == ANSWER(ERROR_RESPONSE)         ? (size_t)a->error_response->error_code
                : kind == ANSWER(LIST_SERVICES_RESPONSE) ? a->list_services_response->n_service
                                                         : a->all_extension_numbers_response->n_extension_number;
            if (number != rows[i].number)
                fail_msg("row %zu: %zu", i, number);
            grpc__reflection__v1__server_reflection_response__free_unpacked(a, NULL);
        }
        fake_end(call);
        assert_int_equal(call->status, GRPC_OK);
        fake_free(call);
    }
}

static void test_the_file_asked_for_comes_first_and_whole(void **state)
{
    struct grpc_call *call = fixture_call(*state, V1);
    answer *a = reflect(call, QUESTION(FILE_BY_FILENAME), "mc_proxy/v1/admin.proto");
    const ProtobufCBinaryData *file = &a->file_descriptor_response->file_descriptor_proto[0];

    /* FileDescriptorProto begins with its name. */
    assert_memory_equal(file->data, "\x0a\x17mc_proxy/v1/admin.proto", 25);
    assert_non_null(memmem(proto_descriptor_set, proto_descriptor_set_len, file->data, file->len));
    grpc__reflection__v1__server_reflection_response__free_unpacked(a, NULL);
    fake_free(call);
}

static void test_who_does_not_read_may_not_go_on_asking(void **state)
{
    struct grpc_call *call = fixture_call(*state, V1);
    question q;

    grpc__reflection__v1__server_reflection_request__init(&q);
    q.message_request_case = QUESTION(FILE_BY_FILENAME);
    q.file_by_filename = TEXT("mc_proxy/v1/admin.proto");
    call->queued = 2u << 20;
    fake_receive_message(call, &q.base);
    expect_status(call, GRPC_RESOURCE_EXHAUSTED, "read the answers");
    fake_free(call);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_health_follows_the_phases),
        CASE(test_an_unknown_service_is_not_found),
        CASE(test_watchers_hear_of_every_change_once),
        CASE(test_a_watcher_without_memory_is_let_go),
        CASE(test_questions_and_their_answers),
        CASE(test_the_file_asked_for_comes_first_and_whole),
        CASE(test_who_does_not_read_may_not_go_on_asking),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
