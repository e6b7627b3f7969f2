/* May this client enter? Asked once per connection, of the address that counts: the announced one, or the peer's. */

#include "conn_firewall.h"

#include <string.h>

#include "clock.h"
#include "conn.h"
#include "conn_setup.h"
#include "firewall.h"
#include "geoip_reader.h"
#include "rate_limit.h"
#include "stats.h"
#include "worker.h"

void conn_find_country(const struct conn *c)
{
    struct conn_setup *s = c->setup;
    struct worker *w = conn_worker(c);

    if (w->geoip == NULL || s->is_country_asked)
        return;
    s->is_country_asked = true;
    if (!geoip_reader_country(w->geoip, &c->client.addr, s->country))
        s->country[0] = '\0';
}

/** A rule wants to know; the record will, too. */
static bool find_country(void *context, const struct ip_addr *addr, char iso_code_out[2])
{
    const struct conn *c = context;

    (void)addr;
    conn_find_country(c);
    memcpy(iso_code_out, c->setup->country, 2);
    if (iso_code_out[0] != '\0')
        return true;
    stat_add(&conn_worker(c)->mine->country_unknown, 1);
    return false;
}

static enum firewall_verdict ask_rules(struct conn *c)
{
    struct worker *w = conn_worker(c);
    const struct shm_root *root = table_pin(&w->view);
    enum firewall_verdict verdict =
        firewall_match(w->view.tables, root, &c->client.addr, w->geoip != NULL ? find_country : NULL, c);

    table_release(&w->view);
    return verdict;
}

bool conn_may_enter(struct conn *c, enum close_reason *reason_out)
{
    static const enum close_reason reasons[] = {
        [FIREWALL_BLOCKED_IP] = CLOSE_BLOCKED_IP,
        [FIREWALL_BLOCKED_CIDR] = CLOSE_BLOCKED_CIDR,
        [FIREWALL_BLOCKED_COUNTRY] = CLOSE_BLOCKED_COUNTRY,
    };
    struct worker *w = conn_worker(c);
    enum firewall_verdict verdict = ask_rules(c);

    if (verdict != FIREWALL_PASS) {
        *reason_out = reasons[verdict];
        return false;
    }
    /* After the rules, so that a blocked address uses up no quota. */
    if (rate_rules_current(&w->view.tables->rate).limit == 0 ||
        rate_table_admit(w->rates, &w->view.tables->rate, &c->client.addr, clock_monotonic_ns()))
        return true;
    *reason_out = CLOSE_RATE_LIMIT;
    return false;
}
