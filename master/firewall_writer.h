#ifndef FIREWALL_WRITER_H
#define FIREWALL_WRITER_H

#include <stdbool.h>
#include <stdint.h>

#include "check.h"
#include "firewall_rule.h"
#include "rate_limit.h"
#include "shm_layout.h"
#include "strbuf.h"

struct tables;

/*
 * The writing side of the firewall. A change has two halves, with the caller's commit between them:
 *
 *     struct firewall_change change;
 *     if ((rc = firewall_change_prepare_add(writer, &rule, &change)) != 0)
 *         return rc;                              nothing has changed anywhere
 *     if ((rc = store_commit(...)) != 0) {
 *         firewall_change_abort(&change);         nothing has changed anywhere
 *         return rc;
 *     }
 *     (void)firewall_change_publish(&change);     cannot fail
 *
 * Several changes may be prepared at a time, published or aborted in any order; each counts from its publishing. One costs the
 * same among a million rules as among ten, except when a hash array is built anew, which happens in prepare, as it changes nothing
 * that a look-up could tell.
 *
 * "192.0.2.7" and "192.0.2.7/32" are two rules, and removing one leaves the other.
 */
struct firewall_writer;

/** A change between its halves. Embedded by the caller; the fields are the writer's. */
struct firewall_change {
    struct firewall_writer *writer; /* NULL: done */
    bool is_removal;
    struct firewall_rule rule;
    shm_off record; /* to be shown; 0 for a removal and for a country */
};

/** Rules by kind. */
struct firewall_counts {
    uint32_t ip;
    uint32_t cidr;
    uint32_t country;
};

/** The tables are borrowed and must outlive the writer. 0 or ERR_NO_MEMORY. */
int firewall_writer_new(struct tables *tables, struct firewall_writer **out) MUST_CHECK;
/** After this no tables_reclaim() any more: what waits there belongs to the writer. Accepts NULL, clears the caller's pointer. */
void firewall_writer_free(struct firewall_writer **writer);

/** Prepare to add a rule: 0; ERR_EXISTS, or ERR_NO_MEMORY, and nothing has changed. */
int firewall_change_prepare_add(struct firewall_writer *writer, const struct firewall_rule *rule,
                                struct firewall_change *out) MUST_CHECK;

/** Prepare to remove a rule: 0, ERR_NOT_FOUND, or ERR_NO_MEMORY. */
int firewall_change_prepare_remove(struct firewall_writer *writer, const struct firewall_rule *rule,
                                   struct firewall_change *out) MUST_CHECK;

/**
 * Make a prepared change visible: a look-up that begins after this sees it. Cannot fail.
 *
 * @return false if another change published meanwhile had done the same already
 */
bool firewall_change_publish(struct firewall_change *change);

/** Drop a prepared change. Nothing happens to one that was published or aborted. */
void firewall_change_abort(struct firewall_change *change);

/** Both halves at once, for what is in the database already. */
int firewall_add(struct firewall_writer *writer, const struct firewall_rule *rule) MUST_CHECK;
int firewall_remove(struct firewall_writer *writer, const struct firewall_rule *rule) MUST_CHECK;

/** Is this rule in force? */
bool firewall_writer_has(const struct firewall_writer *writer, const struct firewall_rule *rule);

struct firewall_counts firewall_writer_counts(const struct firewall_writer *writer);

/**
 * The rate limit in force with the next connection. Who is over the old one is so under the new one too (rate_limit.h).
 *
 * @param counted  what was counted so far is taken over into the new rule; NULL: there is no such table yet
 * @param now_ns   monotonic
 */
void firewall_writer_set_rate(struct firewall_writer *writer, struct rate_rule rule, struct rate_table *counted,
                              uint64_t now_ns);

/** One line of key=value. */
void firewall_writer_dump(const struct firewall_writer *writer, struct strbuf *out);

/*
 * Replacing all rules at once, for the start and for restoring: the new ones are put together aside, with masks of their own, and
 * shown by one store of the root. A look-up sees all the old rules or all the new ones. Changes published between begin and publish
 * go under with the old rules, and none may be prepared then.
 */
struct firewall_bulk;

/** @param expected4, expected6  about how many prefixes will come; more are taken too, fewer waste memory. 0 or ERR_NO_MEMORY. */
int firewall_bulk_begin(struct firewall_writer *writer, uint64_t expected4, uint64_t expected6,
                        struct firewall_bulk **out) MUST_CHECK;

/** Add a rule; one that is there already is fine. 0, or ERR_NO_MEMORY: then abort. */
int firewall_bulk_add(struct firewall_bulk *bulk, const struct firewall_rule *rule) MUST_CHECK;

/** Show the new rules instead of the old ones. Cannot fail. Frees *bulk and clears it. */
void firewall_bulk_publish(struct firewall_bulk **bulk);

/** Drop it; nothing has changed. Accepts NULL, clears the caller's pointer. */
void firewall_bulk_abort(struct firewall_bulk **bulk);

/*
 * Many changes shown by one store of the root, as route_batch of route_writer.h: made in copies of the hash arrays in force, which
 * share their records. None may be prepared or published between begin and publish.
 */
struct firewall_batch;

/** 0 or ERR_NO_MEMORY. */
int firewall_batch_begin(struct firewall_writer *writer, struct firewall_batch **out) MUST_CHECK;

/** Add a rule. 0; ERR_EXISTS, and the batch is as it was; ERR_NO_MEMORY: then abort. */
int firewall_batch_add(struct firewall_batch *batch, const struct firewall_rule *rule) MUST_CHECK;

/** Remove a rule. 0; ERR_NOT_FOUND, and the batch is as it was; ERR_NO_MEMORY: then abort. */
int firewall_batch_remove(struct firewall_batch *batch, const struct firewall_rule *rule) MUST_CHECK;

/** Show all of it. Cannot fail. Frees *batch and clears it. */
void firewall_batch_publish(struct firewall_batch **batch);

/** Drop it; nothing has changed. Accepts NULL, clears the caller's pointer. */
void firewall_batch_abort(struct firewall_batch **batch);

#endif
