#ifndef FIREWALL_RULE_H
#define FIREWALL_RULE_H

#include "address.h"
#include "bytes.h"
#include "check.h"
#include "strbuf.h"

/* One rule of the firewall as operators write it: a kind and a value. */

enum firewall_rule_kind { FIREWALL_RULE_IP, FIREWALL_RULE_CIDR, FIREWALL_RULE_COUNTRY };

#define FIREWALL_RULE_TEXT_MAX ADDRESS_TEXT_MAX

struct firewall_rule {
    enum firewall_rule_kind kind;
    struct ip_cidr prefix; /* IP: with prefix_len 32 or 128; CIDR: canonical */
    char country[2];       /* COUNTRY: 'A'..'Z' */
};

/**
 * Read a rule's value: "192.0.2.7" (one in IPv4-mapped form is IPv4), "198.51.100.0/24" (canonical), "KP".
 *
 * @param why  gets a short reason on an error, fit to stand behind "value: "
 * @return 0, ERR_INVALID or ERR_RANGE
 */
int firewall_rule_parse(enum firewall_rule_kind kind, struct bytes value, struct firewall_rule *out,
                        struct strbuf *why) MUST_CHECK;

/** The canonical text of the value, the same for every spelling of one rule; at most FIREWALL_RULE_TEXT_MAX with NUL. */
void firewall_rule_format(const struct firewall_rule *rule, struct strbuf *out);

#endif
