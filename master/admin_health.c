/* grpc.health.v1: does the server want work? */

#include <stdlib.h>
#include <string.h>

#include "admin_internal.h"
#include "err.h"
#include "grpc/health/v1/health.pb-c.h"

typedef Grpc__Health__V1__HealthCheckResponse__ServingStatus serving_status;
#define SERVING         GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING
#define NOT_SERVING     GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING
#define SERVICE_UNKNOWN GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN

static const char *const services[] = {"", "mc_proxy.v1.ProxyAdminService"};

/** A Watch that goes on; in the list of its admin. */
struct health_watch {
    uint32_t magic;
    struct grpc_call *call;
    struct health_watch **link; /* what points to us */
    struct health_watch *next;
    bool is_known; /* the service: only then there will be news */
};
#define HEALTH_WATCH_MAGIC 0x48575443u

static bool is_known(const char *service)
{
    for (unsigned i = 0; i < sizeof services / sizeof services[0]; i++) {
        if (strcmp(services[i], service) == 0)
            return true;
    }
    return false;
}

static serving_status status_now(const struct admin *a)
{
    return a->phase == ADMIN_SERVING ? SERVING : NOT_SERVING;
}

static void check(struct admin *a, struct grpc_call *call, const void *request)
{
    Grpc__Health__V1__HealthCheckResponse response;
    const char *service = ((const Grpc__Health__V1__HealthCheckRequest *)request)->service;

    grpc__health__v1__health_check_response__init(&response);
    if (!is_known(service)) {
        admin_fail_text(call, ERR_NOT_FOUND, "service: there is none of this name");
        return;
    }
    response.status = status_now(a);
    admin_reply(call, &response.base);
}

/* ---- watching ---- */

static void watch_tell(struct admin *a, struct health_watch *watch)
{
    Grpc__Health__V1__HealthCheckResponse response;

    grpc__health__v1__health_check_response__init(&response);
    if (!grpc_call_is_open(watch->call)) /* finished, and not gone yet */
        return;
    response.status = watch->is_known ? status_now(a) : SERVICE_UNKNOWN;
    (void)!admin_send(watch->call, &response.base); /* without memory the call has been finished */
}

static void watch(struct admin *a, struct grpc_call *call, const void *request)
{
    struct health_watch *watch = calloc(1, sizeof *watch);

    if (watch == NULL) {
        admin_fail_text(call, ERR_NO_MEMORY, "");
        return;
    }
    *watch = (struct health_watch){.magic = HEALTH_WATCH_MAGIC, .call = call, .link = &a->watches, .next = a->watches};
    watch->is_known = is_known(((const Grpc__Health__V1__HealthCheckRequest *)request)->service);
    if (watch->next != NULL)
        watch->next->link = &watch->next;
    a->watches = watch;
    grpc_call_set_state(call, watch);
    watch_tell(a, watch);
}

void admin_on_health_watch_gone(struct grpc_call *call)
{
    struct health_watch *watch = grpc_call_state(call);

    if (watch == NULL)
        return;
    CHECK_MAGIC(watch, HEALTH_WATCH_MAGIC);
    *watch->link = watch->next;
    if (watch->next != NULL)
        watch->next->link = watch->link;
    grpc_call_set_state(call, NULL);
    watch->magic = 0;
    free(watch);
}

void admin_health_changed(struct admin *admin)
{
    struct health_watch *next;

    for (struct health_watch *watch = admin->watches; watch != NULL; watch = next) {
        next = watch->next; /* telling may end it */
        if (watch->is_known)
            watch_tell(admin, watch);
    }
}

void admin_health_end(struct admin *admin)
{
    struct health_watch *next;

    for (struct health_watch *watch = admin->watches; watch != NULL; watch = next) {
        next = watch->next;
        if (grpc_call_is_open(watch->call))
            grpc_call_finish(watch->call, GRPC_UNAVAILABLE, "the server is stopping");
    }
}

void admin_on_health_check(struct grpc_call *call, struct bytes message)
{
    admin_serve(call, message, &grpc__health__v1__health_check_request__descriptor, check);
}

void admin_on_health_watch(struct grpc_call *call, struct bytes message)
{
    admin_serve(call, message, &grpc__health__v1__health_check_request__descriptor, watch);
}
