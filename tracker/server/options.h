/* tracker/server/options.h: the command line of weir-tracker. One table knows
 * each option, its range and its line of --help. Main thread, before others
 * start. */
#pragma once

#include <stdio.h>

#include "tracker/server/policy.h"

#define OPTIONS_BINDS_MAX 16
#define OPTIONS_JOINS_MAX 32
#define OPTIONS_WHY_SIZE  256

struct option_addrs { /* ports 0 */
	struct addr at[OPTIONS_BINDS_MAX];
	unsigned num;
};

struct option_subnets {
	struct subnet at[TRACKER_SUBNETS_MAX];
	unsigned num;
};

struct option_texts {
	const char *at[OPTIONS_JOINS_MAX];
	unsigned num;
};

/* Texts are borrowed from argv; NULL: not given. */
struct tracker_options {
	struct option_addrs binds; /* none given: filled with both families */
	bool are_binds_given;
	uint64_t port, udp_port, http_port, https_port; /* https 0: none */
	bool is_udp_off, is_http_off;
	const char *cert, *key; /* both or none, once parsed */
	const char *user;

	const char *state, *allow, *deny;
	uint64_t save_every_s;

	uint64_t interval_s, min_interval_s, num_want, max_want;
	bool allows_full_scrape;

	uint64_t threads, max_memory, max_torrents, rate;
	bool limits_private;
	struct option_subnets proxies, stats_from;

	const char *domain, *realm_key, *dns, *livesync;
	struct option_texts joins;
	struct option_addrs externals;       /* how others see us */
	struct option_subnets livesync_from; /* none: the interface's /24 */
	const char *new_realm_key, *certify; /* instead of running */
	bool is_livesync_mapped;

	bool is_access_logged;
	unsigned verbosity; /* how often -v was given */

	bool wants_help, wants_version; /* nothing else was looked at */
};

/* Returns 0, or -EINVAL with a sentence in WHY that names the option. */
int options_parse(int argc, char **argv, struct tracker_options *out,
		  char why[OPTIONS_WHY_SIZE]);
/* --help: at most 80 columns. */
void options_print_help(FILE *f);
