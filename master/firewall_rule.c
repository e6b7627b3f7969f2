/* Rules of the firewall in text. */

#include "firewall_rule.h"

#include "err.h"
#include "firewall.h"

static int parse_ip(struct bytes value, struct firewall_rule *out, struct strbuf *why)
{
    struct ip_addr addr;
    int rc = ip_addr_parse(value, &addr, why);

    if (rc != 0)
        return rc;
    *out = (struct firewall_rule){
        .kind = FIREWALL_RULE_IP,
        .prefix = {.addr = addr, .prefix_len = (uint8_t)(8 * firewall_addr_bytes(addr.family))},
    };
    return 0;
}

static int parse_cidr(struct bytes value, struct firewall_rule *out, struct strbuf *why)
{
    struct ip_cidr prefix;
    int rc = ip_cidr_parse(value, &prefix, why);

    if (rc == 0)
        *out = (struct firewall_rule){.kind = FIREWALL_RULE_CIDR, .prefix = prefix};
    return rc;
}

static int parse_country(struct bytes value, struct firewall_rule *out, struct strbuf *why)
{
    if (value.len != 2 || firewall_country_bit((const char *)value.ptr) < 0) {
        strbuf_add(why, "a country is two capital letters like KP (ISO 3166-1)");
        return ERR_INVALID;
    }
    *out = (struct firewall_rule){.kind = FIREWALL_RULE_COUNTRY, .country = {(char)value.ptr[0], (char)value.ptr[1]}};
    return 0;
}

int firewall_rule_parse(enum firewall_rule_kind kind, struct bytes value, struct firewall_rule *out, struct strbuf *why)
{
    static int (*const parsers[])(struct bytes, struct firewall_rule *, struct strbuf *) = {
        [FIREWALL_RULE_IP] = parse_ip,
        [FIREWALL_RULE_CIDR] = parse_cidr,
        [FIREWALL_RULE_COUNTRY] = parse_country,
    };

    CHECK(kind <= FIREWALL_RULE_COUNTRY);
    return parsers[kind](value, out, why);
}

void firewall_rule_format(const struct firewall_rule *rule, struct strbuf *out)
{
    if (rule->kind == FIREWALL_RULE_COUNTRY)
        strbuf_addf(out, "%.2s", rule->country);
    else if (rule->kind == FIREWALL_RULE_IP)
        ip_addr_format(&rule->prefix.addr, out);
    else
        ip_cidr_format(&rule->prefix, out);
}
