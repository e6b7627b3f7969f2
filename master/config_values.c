/* The types of scalar values: from text into a field of struct config or struct config_listener. */

#include "config_values.h"

#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#include "config.h"
#include "config_builder.h"
#include "config_memory.h"
#include "duration.h"
#include "err.h"
#include "shm_layout.h"

static void *field_of(const struct config_key *key, void *object)
{
    return (char *)object + key->offset;
}

static int parse_number(struct bytes text, uint32_t *out)
{
    uint64_t value = 0;

    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return ERR_INVALID;
        value = value * 10 + (uint64_t)(text.ptr[i] - '0');
        if (value > UINT32_MAX)
            return ERR_RANGE;
    }
    *out = (uint32_t)value;
    return text.len > 0 ? 0 : ERR_INVALID; /* GCOVR_EXCL_BR_LINE: the reader has refused an empty value */
}

static int check_range(const struct config_key *key, uint32_t value, struct strbuf *why)
{
    if (value >= key->min && value <= key->max)
        return 0;
    strbuf_add(why, value < key->min ? "too small" : "too large");
    return ERR_RANGE;
}

int config_store_number(struct config_builder *b, const struct config_key *key, void *object, struct bytes text,
                        struct strbuf *why)
{
    uint32_t value;
    int rc = parse_number(text, &value);

    (void)b;
    if (rc != 0) {
        strbuf_add(why, rc == ERR_RANGE ? "too large" : "not a whole number");
        return rc;
    }
    if ((rc = check_range(key, value, why)) != 0)
        return rc;
    *(uint32_t *)field_of(key, object) = value;
    return 0;
}

int config_store_duration(struct config_builder *b, const struct config_key *key, void *object, struct bytes text,
                          struct strbuf *why)
{
    uint32_t value;
    int rc;

    (void)b;
    if ((rc = duration_parse(text, &value, why)) != 0 || (rc = check_range(key, value, why)) != 0)
        return rc;
    *(uint32_t *)field_of(key, object) = value;
    return 0;
}

/** How many processors this process may run on; at least 1. The set is enlarged until the kernel's fits. */
static unsigned cpus_allowed(void)
{
    unsigned count = 0;

    /* GCOVR_EXCL_BR_START: more than 1,024 processors, no memory, no right to ask: not to be had in a test */
    for (int cpus = CPU_SETSIZE; count == 0 && cpus <= 1 << 20; cpus *= 2) {
        size_t bytes = CPU_ALLOC_SIZE(cpus);
        cpu_set_t *set = CPU_ALLOC(cpus);
        if (set == NULL)
            break;
        if (sched_getaffinity(0, bytes, set) == 0)
            count = (unsigned)CPU_COUNT_S(bytes, set);
        CPU_FREE(set);
    }
    return count > 0 ? count : 1;
    /* GCOVR_EXCL_BR_STOP */
}

int config_store_workers(struct config_builder *b, const struct config_key *key, void *object, struct bytes text,
                         struct strbuf *why)
{
    struct config *config = object;
    bool is_auto = bytes_equal_str(text, "auto");
    int rc = is_auto ? 0 : config_store_number(b, key, object, text, why);

    if (rc != 0)
        return rc;
    config->workers_auto = is_auto;
    if (is_auto) {
        unsigned cpus = cpus_allowed();
        config->workers = cpus < SHM_WORKERS_MAX ? cpus : SHM_WORKERS_MAX;
    }
    return 0;
}

int config_store_pending_hellos(struct config_builder *b, const struct config_key *key, void *object, struct bytes text,
                                struct strbuf *why)
{
    struct config *config = object;

    if (!bytes_equal_str(text, "auto"))
        return config_store_number(b, key, object, text, why);
    config->max_pending_hellos = CTL_PENDING_HELLOS_AUTO;
    return 0;
}

static int parse_word(const struct config_key *key, struct bytes text, unsigned *out)
{
    for (unsigned i = 0; key->words[i] != NULL; i++) {
        if (bytes_equal_str(text, key->words[i])) {
            *out = i;
            return 0;
        }
    }
    return ERR_INVALID;
}

int config_store_choice(struct config_builder *b, const struct config_key *key, void *object, struct bytes text,
                        struct strbuf *why)
{
    unsigned index;

    (void)b;
    (void)why; /* what the row expects is the whole story */
    _Static_assert(sizeof(enum log_level) == sizeof index && sizeof(enum proxy_mode) == sizeof index &&
                       sizeof(enum no_route_mode) == sizeof index,
                   "enums are stored through an unsigned");
    if (parse_word(key, text, &index) != 0)
        return ERR_INVALID;
    memcpy(field_of(key, object), &index, sizeof index);
    return 0;
}

int config_store_either(struct config_builder *b, const struct config_key *key, void *object, struct bytes text,
                        struct strbuf *why)
{
    unsigned index;

    (void)b;
    (void)why;
    if (parse_word(key, text, &index) != 0)
        return ERR_INVALID;
    *(bool *)field_of(key, object) = index == 1;
    return 0;
}

static int replace_text(char **field, char *fresh)
{
    if (fresh == NULL) /* GCOVR_EXCL_BR_LINE: fault injection's */
        return ERR_NO_MEMORY;
    free(*field);
    *field = fresh;
    return 0;
}

int config_store_text(struct config_builder *b, const struct config_key *key, void *object, struct bytes text,
                      struct strbuf *why)
{
    (void)b;
    (void)why;
    return replace_text(field_of(key, object), config_copy(text));
}

int config_store_path(struct config_builder *b, const struct config_key *key, void *object, struct bytes text,
                      struct strbuf *why)
{
    char data[PATH_MAX];
    struct strbuf path = STRBUF_OF(data);

    if (text.ptr[0] != '/')
        strbuf_addf(&path, "%s/", b->folder);
    strbuf_add_bytes(&path, text);
    if (path.overflowed) {
        strbuf_addf(why, "longer than %d bytes", PATH_MAX - 1);
        return ERR_RANGE;
    }
    return replace_text(field_of(key, object), config_copy(bytes_of(path.data, path.len)));
}

/** Parse an address to listen on and keep its text. */
static int store_listen_addr(struct bytes text, struct listen_addr *addr, char addr_text[ADDRESS_TEXT_MAX],
                             struct strbuf *why)
{
    struct listen_addr parsed;
    int rc = listen_addr_parse(text, &parsed, why);

    if (rc != 0)
        return rc;
    struct strbuf copy = strbuf_init(addr_text, ADDRESS_TEXT_MAX);
    strbuf_add_bytes(&copy, text);
    CHECK(!copy.overflowed); /* ADDRESS_TEXT_MAX holds every text that parses */
    *addr = parsed;
    return 0;
}

int config_store_metrics_addr(struct config_builder *b, const struct config_key *key, void *object, struct bytes text,
                              struct strbuf *why)
{
    struct config *config = object;
    int rc;

    (void)b;
    (void)key;
    if ((rc = store_listen_addr(text, &config->metrics_addr, config->metrics_addr_text, why)) == 0)
        config->has_metrics = true;
    return rc;
}

int config_store_listener_addr(struct config_builder *b, const struct config_key *key, void *object, struct bytes text,
                               struct strbuf *why)
{
    struct config_listener *listener = object;

    (void)b;
    (void)key;
    return store_listen_addr(text, &listener->addr, listener->addr_text, why);
}
