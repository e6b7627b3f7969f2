/* May this client enter? Asked once per connection, of the address that counts: the announced one, or the peer's. */

#include "clock.h"
#include "conn.h"
#include "firewall.h"
#include "geoip_reader.h"
#include "rate_limit.h"
#include "stats.h"
#include "worker.h"

static bool find_country(void *context, const struct ip_addr *addr, char iso_code_out[2])
{
    struct worker *w = context;

    if (geoip_reader_country(w->geoip, addr, iso_code_out))
        return true;
    stat_add(&w->mine->country_unknown, 1);
    return false;
}

static enum firewall_verdict ask_rules(struct worker *w, const struct ip_addr *addr)
{
    const struct shm_root *root = table_pin(&w->view);
    enum firewall_verdict verdict =
        firewall_match(w->view.tables, root, addr, w->geoip != NULL ? find_country : NULL, w);

    table_release(&w->view);
    return verdict;
}

bool conn_may_enter(const struct conn *c, enum close_reason *reason_out)
{
    static const enum close_reason reasons[] = {
        [FIREWALL_BLOCKED_IP] = CLOSE_BLOCKED_IP,
        [FIREWALL_BLOCKED_CIDR] = CLOSE_BLOCKED_CIDR,
        [FIREWALL_BLOCKED_COUNTRY] = CLOSE_BLOCKED_COUNTRY,
    };
    struct worker *w = conn_worker(c);
    enum firewall_verdict verdict = ask_rules(w, &c->client.addr);

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
