#include "tracker/server/options.h"

#include <errno.h>
#include <getopt.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/limits.h"
#include "engine/base/mem.h"

enum kind {
	HEADING,
	NUMBER,
	SIZE, /* bytes, with K, M, G, T behind */
	FLAG,
	NO_FLAG, /* sets what it names to false */
	TEXT,
	ADDRS,
	SUBNETS,
	TEXTS,
	VERBOSE,
};

struct spec {
	enum kind kind;
	const char *name; /* of a heading: the heading */
	size_t at;        /* in struct tracker_options */
	uint64_t min, max;
	const char *arg, *help; /* NULL: another name, not in --help */
};

#define AT(field) offsetof(struct tracker_options, field)
#define GIB       (UINT64_C(1) << 30)

/* clang-format off */
static const struct spec SPECS[] = {
	{ HEADING, "Where it listens" },
	{ NUMBER, "port", AT(port), 0, 65535, "N",
	  "UDP and HTTP (6969); 0: any, said in the log" },
	{ ADDRS, "bind", AT(binds), 0, 0, "ADDR",
	  "address, repeatable (all, IPv4 and IPv6)" },
	{ NUMBER, "udp-port", AT(udp_port), 0, 65535, "N",
	  "UDP, if not the same" },
	{ NUMBER, "http-port", AT(http_port), 0, 65535, "N",
	  "HTTP, if not the same" },
	{ NUMBER, "https-port", AT(https_port), 1, 65535, "N",
	  "HTTPS, with --cert (none)" },
	{ TEXT, "cert", AT(cert), 0, 0, "FILE",
	  "certificate and chain, PEM" },
	{ TEXT, "key", AT(key), 0, 0, "FILE",
	  "its key, PEM (in the same file)" },
	{ FLAG, "no-udp", AT(is_udp_off), 0, 0, "", "no UDP tracker" },
	{ FLAG, "no-http", AT(is_http_off), 0, 0, "", "no HTTP tracker" },
	{ TEXT, "user", AT(user), 0, 0, "NAME",
	  "become NAME once ports are open" },

	{ HEADING, "What it keeps and tracks" },
	{ TEXT, "state", AT(state), 0, 0, "FILE",
	  "peers and counters over a restart (none)" },
	{ TEXT, "dfile", AT(state) },
	{ NUMBER, "save-every", AT(save_every_s), 1, 86400, "SECONDS",
	  "save that often (60)" },
	{ TEXT, "allow", AT(allow), 0, 0, "FILE",
	  "track these torrents alone: infohashes, a line each" },
	{ TEXT, "deny", AT(deny), 0, 0, "FILE", "track all but these" },

	{ HEADING, "What it answers" },
	{ NUMBER, "interval", AT(interval_s), 60, 3000, "SECONDS",
	  "between announces, varied by 10 % (1800)" },
	{ NUMBER, "min-interval", AT(min_interval_s), 30, 3000, "SECONDS",
	  "that clients must wait (half of it)" },
	{ NUMBER, "num-want", AT(num_want), 0, 1000, "N",
	  "peers told to who asks for no number (50)" },
	{ NUMBER, "max-want", AT(max_want), 1, 1000, "N",
	  "peers told at most (200)" },
	{ NO_FLAG, "no-full-scrape", AT(allows_full_scrape), 0, 0, "",
	  "no scrape of all torrents at once" },

	{ HEADING, "Limits" },
	{ NUMBER, "threads", AT(threads), 0, 64, "N",
	  "of UDP and of HTTP; 0: one for each core (0)" },
	{ SIZE, "max-memory", AT(max_memory), 16u << 20, 1024 * GIB, "SIZE",
	  "of peers and torrents, as 512M or 4G (1G)" },
	{ NUMBER, "max-torrents", AT(max_torrents), 1, 1000000000, "N",
	  "then the most silent goes (10000000)" },
	{ NUMBER, "rate", AT(rate), 0, 1000000, "N",
	  "announces a second of a /24 or /48; 0: off (100)" },
	{ FLAG, "limit-private", AT(limits_private), 0, 0, "",
	  "of private and loopback sources, too" },
	{ SUBNETS, "proxy", AT(proxies), 0, 0, "SUBNET",
	  "whose X-Forwarded-For is believed, repeatable" },
	{ SUBNETS, "stats-from", AT(stats_from), 0, 0, "SUBNET",
	  "who may see statistics, repeatable (everybody)" },

	{ HEADING, "Several trackers as one" },
	{ TEXT, "domain", AT(domain), 0, 0, "NAME",
	  "name of the overlay, as bt.example.org" },
	{ TEXTS, "join", AT(joins), 0, 0, "HOST:PORT",
	  "a tracker that is in it, repeatable" },
	{ ADDRS, "external", AT(externals), 0, 0, "ADDR",
	  "how others see this machine, if not as it does" },
	{ TEXT, "realm-key", AT(realm_key), 0, 0, "FILE",
	  "key or certificate of a closed overlay" },
	{ TEXT, "new-realm-key", AT(new_realm_key), 0, 0, "FILE",
	  "only write such a key there" },
	{ TEXT, "certify", AT(certify), 0, 0, "KEY",
	  "only print the certificate of a tracker" },
	{ TEXT, "dns", AT(dns), 0, 0, "ADDR:PORT",
	  "answer DNS questions for the domain" },
	{ TEXT, "livesync", AT(livesync), 0, 0, "ADDR",
	  "tell opentrackers of a cluster, and hear them" },
	{ SUBNETS, "livesync-from", AT(livesync_from), 0, 0, "SUBNET",
	  "who of them is believed (the /24 of ADDR)" },
	{ FLAG, "livesync-mapped", AT(is_livesync_mapped), 0, 0, "",
	  "they are of 2024 or later" },

	{ HEADING, "The log" },
	{ FLAG, "access-log", AT(is_access_logged), 0, 0, "",
	  "a line for each request on standard output" },
	{ VERBOSE, "verbose", AT(verbosity), 0, 0, "",
	  "say more; twice: still more" },
	{ FLAG, "version", AT(wants_version), 0, 0, "", "the version" },
	{ FLAG, "help", AT(wants_help), 0, 0, "", "this text" },
};
/* clang-format on */

#define SHORTS ":hVv"

static char short_of(const struct spec *s)
{
	if (s->at == AT(wants_help))
		return 'h';
	if (s->at == AT(wants_version))
		return 'V';
	return s->kind == VERBOSE ? 'v' : 0;
}

/* --- help --- */

static void print_option(FILE *f, const struct spec *s)
{
	char head[40];

	if (short_of(s))
		snprintf(head, sizeof(head), "-%c, --%s", short_of(s), s->name);
	else
		snprintf(head, sizeof(head), "    --%s %s", s->name, s->arg);
	fprintf(f, "  %-26s %s\n", head, s->help);
}

void options_print_help(FILE *f)
{
	fputs("usage: weir-tracker [OPTION]...\n"
	      "\n"
	      "Tracks who is in which swarm, for BitTorrent clients over UDP, "
	      "HTTP and HTTPS,\n"
	      "IPv4 and IPv6. Announce URLs are udp://HOST:6969/announce and\n"
	      "http://HOST:6969/announce.\n",
	      f);
	for (size_t i = 0; i < ARRAY_LEN(SPECS); i++) {
		if (SPECS[i].kind == HEADING)
			fprintf(f, "\n%s:\n", SPECS[i].name);
		else if (SPECS[i].help)
			print_option(f, &SPECS[i]);
	}
	fputs("\n"
	      "Signals: HUP reads lists and certificate again, USR1 logs "
	      "statistics, TERM and\n"
	      "INT save and end it. Exit status: 0 ended, 1 failed, 2 wrong "
	      "usage.\n",
	      f);
}

/* --- values --- */

static int complain(char why[OPTIONS_WHY_SIZE], const struct spec *s,
		    const char *what, const char *value)
{
	snprintf(why, OPTIONS_WHY_SIZE, "--%s: %s: '%.80s'", s->name, what,
		 value);
	return -EINVAL;
}

/* Digits alone: no sign, no spaces. */
static bool parse_digits(const char **text, uint64_t *out)
{
	const char *p = *text;

	*out = 0;
	while (*p >= '0' && *p <= '9')
		if (!checked_mul(*out, 10, out) ||
		    !checked_add(*out, (uint64_t)(*p++ - '0'), out))
			return false;
	if (p == *text)
		return false;
	*text = p;
	return true;
}

static int set_number(const struct spec *s, const char *text, uint64_t *out,
		      char why[OPTIONS_WHY_SIZE])
{
	const char *p = text;

	if (!parse_digits(&p, out) || *p || *out < s->min || *out > s->max) {
		snprintf(why, OPTIONS_WHY_SIZE,
			 "--%s: a number from %llu to %llu, not '%.80s'",
			 s->name, (unsigned long long)s->min,
			 (unsigned long long)s->max, text);
		return -EINVAL;
	}
	return 0;
}

static int set_size(const struct spec *s, const char *text, uint64_t *out,
		    char why[OPTIONS_WHY_SIZE])
{
	static const char units[] = "KMGT";
	const char *p = text, *unit;
	bool is_good = parse_digits(&p, out);

	if (is_good && *p && (unit = strchr(units, *p & ~0x20))) {
		is_good =
			checked_mul(*out, 1ull << 10 * (unit - units + 1), out);
		p++;
		if (!strcmp(p, "iB") || !strcmp(p, "B"))
			p += strlen(p);
	}
	if (!is_good || *p || *out < s->min || *out > s->max) {
		snprintf(why, OPTIONS_WHY_SIZE,
			 "--%s: a size from %lluM to %lluG, not '%.80s'",
			 s->name, (unsigned long long)(s->min >> 20),
			 (unsigned long long)(s->max >> 30), text);
		return -EINVAL;
	}
	return 0;
}

static int add_addr(const struct spec *s, const char *text,
		    struct option_addrs *list, char why[OPTIONS_WHY_SIZE])
{
	struct addr a;

	if (list->num == ARRAY_LEN(list->at))
		return complain(why, s, "too many of them", text);
	if (addr_parse(text, 0, &a))
		return complain(why, s, "not an IP address", text);
	if (a.port)
		return complain(why, s, "an address without a port (--port)",
				text);
	list->at[list->num++] = a;
	return 0;
}

static int add_subnet(const struct spec *s, const char *text,
		      struct option_subnets *list, char why[OPTIONS_WHY_SIZE])
{
	if (list->num == ARRAY_LEN(list->at))
		return complain(why, s, "too many of them", text);
	if (subnet_parse(text, &list->at[list->num]))
		return complain(why, s, "not a subnet, as 10.0.0.0/8", text);
	list->num++;
	return 0;
}

static int set_text(const struct spec *s, const char *text, const char **out,
		    char why[OPTIONS_WHY_SIZE])
{
	if (!*text)
		return complain(why, s, "must not be empty", text);
	*out = text;
	return 0;
}

static int add_text(const struct spec *s, const char *text,
		    struct option_texts *list, char why[OPTIONS_WHY_SIZE])
{
	if (list->num == ARRAY_LEN(list->at))
		return complain(why, s, "too many of them", text);
	return set_text(s, text, &list->at[list->num++], why);
}

static int set(struct tracker_options *o, const struct spec *s,
	       const char *text, char why[OPTIONS_WHY_SIZE])
{
	void *at = (char *)o + s->at;

	switch (s->kind) {
	case NUMBER:
		return set_number(s, text, at, why);
	case SIZE:
		return set_size(s, text, at, why);
	case TEXT:
		return set_text(s, text, at, why);
	case ADDRS:
		return add_addr(s, text, at, why);
	case SUBNETS:
		return add_subnet(s, text, at, why);
	case TEXTS:
		return add_text(s, text, at, why);
	case FLAG:
		*(bool *)at = true;
		return 0;
	case NO_FLAG:
		*(bool *)at = false;
		return 0;
	case VERBOSE:
		++*(unsigned *)at;
		return 0;
	case HEADING:
		break;
	}
	return -EINVAL;
}

/* --- the whole line --- */

#define UNSET UINT64_MAX

static void set_defaults(struct tracker_options *o)
{
	memset(o, 0, sizeof(*o));
	o->port = 6969;
	o->udp_port = o->http_port = UNSET;
	o->save_every_s = 60;
	o->interval_s = 1800;
	o->min_interval_s = UNSET;
	o->num_want = UNSET;
	o->max_want = 200;
	o->allows_full_scrape = true;
	o->max_memory = LIMIT_SWARMS_BYTES;
	o->max_torrents = LIMIT_SWARMS;
	o->rate = 100;
}

static int say(char why[OPTIONS_WHY_SIZE], const char *sentence)
{
	snprintf(why, OPTIONS_WHY_SIZE, "%s", sentence);
	return -EINVAL;
}

static int check_together(const struct tracker_options *o,
			  char why[OPTIONS_WHY_SIZE])
{
	if (o->allow && o->deny)
		return say(why, "--allow and --deny: one of them, not both");
	if (o->https_port && !o->cert)
		return say(why, "--https-port: needs --cert FILE, and --key "
				"FILE if the key is not in it");
	if (!o->https_port && (o->cert || o->key))
		return say(why, "--cert and --key: need --https-port N");
	if (o->is_udp_off && o->is_http_off && !o->https_port)
		return say(why, "--no-udp and --no-http: nothing is left to "
				"listen on");
	if (o->min_interval_s > o->interval_s)
		return say(why, "--min-interval: must not be longer than "
				"--interval");
	if (o->num_want > o->max_want)
		return say(why, "--num-want: must not be more than "
				"--max-want");
	if (!o->is_http_off && o->https_port && o->https_port == o->http_port)
		return say(why, "--https-port: HTTP is on that port");
	if (!o->domain &&
	    (o->joins.num || o->externals.num || o->realm_key || o->dns))
		return say(why, "--join, --external, --realm-key, --dns: need "
				"--domain NAME");
	if (!o->livesync && (o->livesync_from.num || o->is_livesync_mapped))
		return say(why, "--livesync-from, --livesync-mapped: need "
				"--livesync ADDR");
	if (o->certify && (!o->domain || !o->realm_key))
		return say(why,
			   "--certify: needs --domain NAME and --realm-key "
			   "FILE");
	if (o->domain && o->is_udp_off)
		return say(why, "--domain: an overlay needs UDP");
	if (o->domain && (!o->udp_port || (!o->is_http_off && !o->http_port)))
		return say(why, "--port 0: those of an overlay tell others "
				"their ports, so choose one");
	return 0;
}

static void fill_in(struct tracker_options *o)
{
	if (o->udp_port == UNSET)
		o->udp_port = o->port;
	if (o->http_port == UNSET)
		o->http_port = o->port;
	if (o->min_interval_s == UNSET)
		o->min_interval_s = o->interval_s / 2;
	if (o->num_want == UNSET)
		o->num_want = o->max_want < 50 ? o->max_want : 50;
	if (!o->key)
		o->key = o->cert;
	o->are_binds_given = o->binds.num > 0;
	if (o->binds.num)
		return;
	o->binds.num = 2;
	o->binds.at[0].family = 4;
	o->binds.at[1].family = 6;
}

static void make_longs(struct option *longs)
{
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_LEN(SPECS); i++) {
		const struct spec *s = &SPECS[i];
		enum kind k = s->kind;

		if (k == HEADING)
			continue;
		longs[n].name = s->name;
		longs[n].has_arg = k == FLAG || k == NO_FLAG || k == VERBOSE
					   ? no_argument
					   : required_argument;
		longs[n].val = 256 + (int)i;
		n++;
	}
}

static const struct spec *spec_of(int c)
{
	for (size_t i = 0; i < ARRAY_LEN(SPECS); i++)
		if (c == 256 + (int)i || (c < 256 && c == short_of(&SPECS[i])))
			return &SPECS[i];
	return NULL;
}

int options_parse(int argc, char **argv, struct tracker_options *o,
		  char why[OPTIONS_WHY_SIZE])
{
	struct option longs[ARRAY_LEN(SPECS) + 1] = { 0 };
	int c, r = 0;

	make_longs(longs);
	set_defaults(o);
	opterr = 0;
	optind = 0; /* glibc: begin anew */
	while (!r && (c = getopt_long(argc, argv, SHORTS, longs, NULL)) != -1) {
		const struct spec *s = c > ' ' ? spec_of(c) : NULL;

		if (s) {
			r = set(o, s, optarg, why);
		} else {
			snprintf(why, OPTIONS_WHY_SIZE,
				 c == ':' ? "%.80s: a value is missing"
					  : "%.80s: there is no such option, "
					    "or it takes no value",
				 argv[optind - 1]);
			r = -EINVAL;
		}
		if (o->wants_help || o->wants_version)
			return 0;
	}
	if (!r && optind < argc) {
		snprintf(why, OPTIONS_WHY_SIZE, "'%.80s': not an option",
			 argv[optind]);
		r = -EINVAL;
	}
	if (r)
		return r;
	fill_in(o);
	return check_together(o, why);
}
