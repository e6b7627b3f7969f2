/* Server reflection, v1 and v1alpha: the same messages under two names. */

#include <stdlib.h>

#include "admin_internal.h"
#include "err.h"
#include "grpc/reflection/v1/reflection.pb-c.h"
#include "proto_files.h"

#define UNREAD_MAX   (1u << 20) /* answers that a client may leave lying before it is told to read */
#define SERVICES_MAX 16
#define SERVICE_MAX  128
#define ERROR_MAX    128

typedef Grpc__Reflection__V1__ServerReflectionRequest reflection_request;
typedef Grpc__Reflection__V1__ServerReflectionResponse reflection_response;
typedef Grpc__Reflection__V1__ServerReflectionResponse__MessageResponseCase answer_kind;
#define ANSWER(name) GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_##name

/** What is left of earlier questions on this stream. */
struct reflection {
    uint32_t magic;
    uint64_t sent; /* files, a bit by index */
};
#define REFLECTION_MAGIC 0x5245464cu

static struct reflection *reflection_begin(struct grpc_call *call)
{
    struct reflection *reflection = grpc_call_state(call);

    if (reflection == NULL && (reflection = calloc(1, sizeof *reflection)) != NULL) {
        reflection->magic = REFLECTION_MAGIC;
        grpc_call_set_state(call, reflection);
    }
    return reflection;
}

void admin_on_reflection_gone(struct grpc_call *call)
{
    struct reflection *reflection = grpc_call_state(call);

    if (reflection == NULL)
        return;
    CHECK_MAGIC(reflection, REFLECTION_MAGIC);
    grpc_call_set_state(call, NULL);
    reflection->magic = 0;
    free(reflection);
}

void admin_on_reflection_end(struct grpc_call *call)
{
    grpc_call_finish(call, GRPC_OK, NULL);
}

/* ---- answers; each sends one message ---- */

/** @param answer  what belongs to the kind; all of them are pointers in one place of the message */
static void send_answer(struct grpc_call *call, const reflection_request *request, answer_kind kind, void *answer)
{
    reflection_response response;

    grpc__reflection__v1__server_reflection_response__init(&response);
    response.valid_host = request->host;
    response.original_request = admin_unconst(request);
    response.message_response_case = kind;
    response.error_response = answer;
    (void)!admin_send(call, &response.base); /* without memory the call has been finished */
}

static void answer_error(struct grpc_call *call, const reflection_request *request, enum grpc_status status,
                         const char *text)
{
    Grpc__Reflection__V1__ErrorResponse error;

    grpc__reflection__v1__error_response__init(&error);
    error.error_code = (int32_t)status;
    error.error_message = admin_text(text);
    send_answer(call, request, ANSWER(ERROR_RESPONSE), &error);
}

/** The file, and what it imports as far as it was not sent before. */
static void answer_file(struct grpc_call *call, const reflection_request *request, unsigned index)
{
    Grpc__Reflection__V1__FileDescriptorResponse answer;
    const struct proto_files *files = admin_of(call)->files;
    struct reflection *reflection = grpc_call_state(call);
    uint64_t wanted = (proto_files_with_imports(files, index) & ~reflection->sent) | 1ull << index;
    ProtobufCBinaryData contents[PROTO_FILES_MAX];

    grpc__reflection__v1__file_descriptor_response__init(&answer);
    answer.file_descriptor_proto = contents;
    for (unsigned i = PROTO_FILES_MAX; i-- > 0;) { /* the one asked for comes before its imports */
        if ((wanted >> i & 1) == 0)
            continue;
        struct bytes content = proto_files_content(files, i);
        contents[answer.n_file_descriptor_proto++] =
            (ProtobufCBinaryData){.len = content.len, .data = admin_unconst(content.ptr)};
    }
    reflection->sent |= wanted;
    send_answer(call, request, ANSWER(FILE_DESCRIPTOR_RESPONSE), &answer);
}

static void answer_file_by_name(struct grpc_call *call, const reflection_request *request)
{
    unsigned index;

    if (proto_files_find(admin_of(call)->files, bytes_of_str(request->file_by_filename), &index) == 0)
        answer_file(call, request, index);
    else
        answer_error(call, request, GRPC_NOT_FOUND, "there is no file of this name");
}

static void answer_file_by_symbol(struct grpc_call *call, const reflection_request *request)
{
    struct bytes name = bytes_of_str(request->file_containing_symbol);
    enum proto_symbol symbol;
    unsigned index;

    if (proto_files_find_symbol(admin_of(call)->files, name, &index, &symbol) == 0)
        answer_file(call, request, index);
    else
        answer_error(call, request, GRPC_NOT_FOUND, "nothing of this full name is declared");
}

/** Our messages have no extensions. */
static void answer_extension(struct grpc_call *call, const reflection_request *request)
{
    answer_error(call, request, GRPC_NOT_FOUND, "there is no such extension");
}

static void answer_extension_numbers(struct grpc_call *call, const reflection_request *request)
{
    Grpc__Reflection__V1__ExtensionNumberResponse answer;
    struct bytes name = bytes_of_str(request->all_extension_numbers_of_type);
    enum proto_symbol symbol;
    unsigned index;

    grpc__reflection__v1__extension_number_response__init(&answer);
    if (proto_files_find_symbol(admin_of(call)->files, name, &index, &symbol) != 0 || symbol != PROTO_SYMBOL_MESSAGE) {
        answer_error(call, request, GRPC_NOT_FOUND, "there is no message of this full name");
        return;
    }
    answer.base_type_name = request->all_extension_numbers_of_type;
    send_answer(call, request, ANSWER(ALL_EXTENSION_NUMBERS_RESPONSE), &answer);
}

struct services {
    unsigned count;
    char names[SERVICES_MAX][SERVICE_MAX];
    Grpc__Reflection__V1__ServiceResponse messages[SERVICES_MAX];
    Grpc__Reflection__V1__ServiceResponse *list[SERVICES_MAX];
};

static void add_service(struct bytes package, struct bytes name, void *context)
{
    struct services *services = context;
    unsigned i = services->count++;

    CHECK(i < SERVICES_MAX);
    struct strbuf full = STRBUF_OF(services->names[i]);
    strbuf_add_bytes(&full, package);
    strbuf_add_char(&full, '.');
    strbuf_add_bytes(&full, name);
    CHECK(!full.overflowed);
    grpc__reflection__v1__service_response__init(&services->messages[i]);
    services->messages[i].name = services->names[i];
    services->list[i] = &services->messages[i];
}

static void answer_services(struct grpc_call *call, const reflection_request *request)
{
    Grpc__Reflection__V1__ListServiceResponse answer;
    struct services services = {0};

    grpc__reflection__v1__list_service_response__init(&answer);
    proto_files_each_service(admin_of(call)->files, add_service, &services);
    answer.n_service = services.count;
    answer.service = services.list;
    send_answer(call, request, ANSWER(LIST_SERVICES_RESPONSE), &answer);
}

/* ---- questions ---- */

typedef void (*answer_fn)(struct grpc_call *, const reflection_request *);

#define QUESTION(name) GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_##name
static const answer_fn answers[] = {
    [QUESTION(FILE_BY_FILENAME)] = answer_file_by_name,
    [QUESTION(FILE_CONTAINING_SYMBOL)] = answer_file_by_symbol,
    [QUESTION(FILE_CONTAINING_EXTENSION)] = answer_extension,
    [QUESTION(ALL_EXTENSION_NUMBERS_OF_TYPE)] = answer_extension_numbers,
    [QUESTION(LIST_SERVICES)] = answer_services,
};
#undef QUESTION

static void serve_question(struct admin *a, struct grpc_call *call, const void *message)
{
    const reflection_request *request = message;
    unsigned question = (unsigned)request->message_request_case;

    (void)a;
    if (reflection_begin(call) == NULL)
        admin_fail_text(call, ERR_NO_MEMORY, "");
    else if (grpc_call_queued_bytes(call) > UNREAD_MAX)
        admin_fail_text(call, ERR_FULL, "read the answers before asking on");
    else if (question < sizeof answers / sizeof answers[0] && answers[question] != NULL)
        answers[question](call, request);
    else
        answer_error(call, request, GRPC_INVALID_ARGUMENT, "message_request: is missing");
}

void admin_on_reflection(struct grpc_call *call, struct bytes message)
{
    admin_serve(call, message, &grpc__reflection__v1__server_reflection_request__descriptor, serve_question);
}
