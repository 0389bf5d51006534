/* fs/opts.h: what -o and the configuration files say, for weirfs and weirctl.
 * One table knows every key; a key whose feature is not built yet is accepted
 * and warned about, what mount(8) and fstab pass is accepted, and everything
 * else is refused with the nearest key named. No libfuse here. Main thread. */
#pragma once

#include <stdbool.h>
#include <stdio.h>

#include <sys/types.h>

#include "engine/engine.h"

struct opts_list {
	char **items; /* owned */
	size_t num;
};

struct opts {
	/* owned, absolute after opts_finish */
	char *state_dir, *data_dir, *publish_dir;
	bool has_state, has_data, has_publish; /* given by the user */
	uint16_t port;                         /* 0: first free of 6881..6889 */
	bool has_bind;
	struct addr bind4, bind6;   /* family 0: not that one */
	struct opts_list peers;     /* HOST:PORT */
	struct opts_list trackers;  /* URLs */
	struct opts_list bootstrap; /* HOST:PORT, DHT nodes */
	struct opts_list overlay;   /* HOST:PORT, trackers of overlays */
	bool has_kenosis;           /* keys in announce URLs mean owners */
	bool no_dht;
	struct addr announce4, announce6; /* announce_ip=; family 0: none */
	uint64_t down_limit, up_limit;    /* bytes/s; 0: none */
	unsigned max_peers;               /* 0: the engine's own limit */
	enum fill_policy fill;
	int64_t read_timeout_ms; /* 0: for ever */
	int64_t publish_delay_ms;
	char *publish_match, *publish_webseed; /* owned, or NULL */
	bool is_single;

	/* for the mount alone */
	bool allow_other, allow_root, default_permissions;
	bool is_read_only, is_exec, is_debug;
	bool has_uid, has_gid;
	uid_t uid;
	gid_t gid;
	char *fsname, *subtype; /* owned, or NULL */

	uint64_t warned; /* one bit per key: an inactive key warns once */
};

#define OPTS_WHY_SIZE 256

void opts_init(struct opts *o);
void opts_release(struct opts *o);

/* "key=value,key,...": '\' takes the next character as it is. Returns 0, or
 * -EINVAL with a sentence in WHY. */
int opts_parse(struct opts *o, const char *list, char why[OPTS_WHY_SIZE]);
/* One of them; VALUE may be NULL. */
int opts_set(struct opts *o, const char *key, const char *value,
	     char why[OPTS_WHY_SIZE]);
/* The same keys, one per line, as KEY = VALUE. A missing file is no error. */
int opts_read_file(struct opts *o, const char *path, char why[OPTS_WHY_SIZE]);
/* /etc/weirfs.conf, then $XDG_CONFIG_HOME/weirfs/weirfs.conf. */
int opts_read_config(struct opts *o, char why[OPTS_WHY_SIZE]);

/* Fills in what was not given, makes paths absolute. INSTANCE (or NULL) sets
 * the default folders of a -o single mount apart from the library's. */
int opts_finish(struct opts *o, const char *instance, char why[OPTS_WHY_SIZE]);

/* "64", "512K", "1.5G", "2MiB": bytes. Returns 0 or -EINVAL. */
int opts_parse_size(const char *s, uint64_t *out);

/* The options, for --help: at most 80 columns. IS_MOUNT: weirfs's own too. */
void opts_print_help(FILE *f, bool is_mount);
