/* Every key stands once in the table below: how its value is read, whether its
 * feature is built, and what --help says. Order of reading: /etc/weirfs.conf,
 * the user's file, the command line; the last word counts, lists add up. */
#include "fs/opts.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/limits.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"

enum opts_type {
	TYPE_PATH,
	TYPE_TEXT,
	TYPE_LIST,
	TYPE_PORT,
	TYPE_BIND,
	TYPE_ADDR,
	TYPE_SIZE,
	TYPE_COUNT,
	TYPE_SECONDS,
	TYPE_FILL,
	TYPE_UID,
	TYPE_GID,
	TYPE_FLAG,
	TYPE_CHECKED, /* not active: any value */
	TYPE_SIZE_CHECKED,
	TYPE_IGNORED,
};

enum opts_trait {
	TRAIT_INACTIVE = 1, /* accepted, its feature is not built yet */
	TRAIT_MOUNT = 2,    /* means something to weirfs alone */
	TRAIT_HIDDEN = 4,   /* not in --help */
};

struct opts_key {
	const char *name;
	enum opts_type type;
	unsigned traits;
	size_t at; /* offset in struct opts */
	const char *arg, *help;
};

#define AT(field) offsetof(struct opts, field)

static const struct opts_key keys[] = {
	{ "state", TYPE_PATH, 0, AT(state_dir), "DIR",
	  "what must be remembered; one process at a time" },
	{ "data", TYPE_PATH, 0, AT(data_dir), "DIR", "where content is kept" },
	{ "port", TYPE_PORT, 0, AT(port), "N",
	  "TCP and UDP port (first free of 6881..6889)" },
	{ "bind", TYPE_BIND, 0, 0, "ADDR",
	  "local address; twice for IPv4 and IPv6" },
	{ "peer", TYPE_LIST, 0, AT(peers), "HOST:PORT",
	  "a peer for every torrent; may be repeated" },
	{ "tracker", TYPE_LIST, 0, AT(trackers), "URL",
	  "a tracker for every public torrent; may be repeated" },
	{ "announce_ip", TYPE_ADDR, 0, 0, "ADDR",
	  "address to tell trackers, for a seeder on their LAN" },
	{ "fill", TYPE_FILL, 0, AT(fill), "POLICY",
	  "none: fetch what is read; file; torrent: fetch all" },
	{ "read_timeout", TYPE_SECONDS, 0, AT(read_timeout_ms), "SECONDS",
	  "a read without progress fails then (120; 0: never)" },
	{ "max_peers", TYPE_COUNT, 0, AT(max_peers), "N",
	  "connections of the whole process" },
	{ "down_limit", TYPE_SIZE, 0, AT(down_limit), "SIZE",
	  "bytes a second, all torrents" },
	{ "up_limit", TYPE_SIZE, 0, AT(up_limit), "SIZE",
	  "bytes a second, all torrents" },
	{ "single", TYPE_FLAG, TRAIT_MOUNT, AT(is_single), NULL,
	  "the root holds the one SOURCE and nothing else" },
	{ "allow_other", TYPE_FLAG, TRAIT_MOUNT, AT(allow_other), NULL,
	  "other users may read" },
	{ "allow_root", TYPE_FLAG, TRAIT_MOUNT, AT(allow_root), NULL,
	  "root may read" },
	{ "default_permissions", TYPE_FLAG, TRAIT_MOUNT,
	  AT(default_permissions), NULL, "the kernel checks modes" },
	{ "ro", TYPE_FLAG, TRAIT_MOUNT, AT(is_read_only), NULL,
	  "nothing can be added or removed through the mount" },
	{ "exec", TYPE_FLAG, TRAIT_MOUNT, AT(is_exec), NULL,
	  "content may be executed (default: noexec)" },
	{ "uid", TYPE_UID, TRAIT_MOUNT, AT(uid), "N", "owner of everything" },
	{ "gid", TYPE_GID, TRAIT_MOUNT, AT(gid), "N", "group of everything" },
	{ "fsname", TYPE_TEXT, TRAIT_MOUNT, AT(fsname), "NAME",
	  "first field of /proc/mounts (the SOURCE)" },
	{ "subtype", TYPE_TEXT, TRAIT_MOUNT, AT(subtype), "NAME",
	  "type shown is fuse.NAME (weirfs)" },
	{ "debug", TYPE_FLAG, TRAIT_MOUNT | TRAIT_HIDDEN, AT(is_debug), NULL,
	  NULL },

	/* The contract names these; their features come later. */
	{ "bootstrap", TYPE_CHECKED, TRAIT_INACTIVE, 0, "HOST:PORT", NULL },
	{ "overlay", TYPE_CHECKED, TRAIT_INACTIVE, 0, "HOST:PORT", NULL },
	{ "kenosis", TYPE_CHECKED, TRAIT_INACTIVE, 0, "0|1", NULL },
	{ "nodht", TYPE_CHECKED, TRAIT_INACTIVE, 0, NULL, NULL },
	{ "nolsd", TYPE_CHECKED, TRAIT_INACTIVE, 0, NULL, NULL },
	{ "nopex", TYPE_CHECKED, TRAIT_INACTIVE, 0, NULL, NULL },
	{ "noutp", TYPE_CHECKED, TRAIT_INACTIVE, 0, NULL, NULL },
	{ "notcp", TYPE_CHECKED, TRAIT_INACTIVE, 0, NULL, NULL },
	{ "encryption", TYPE_CHECKED, TRAIT_INACTIVE, 0, "prefer|require|off",
	  NULL },
	{ "cache_size", TYPE_SIZE_CHECKED, TRAIT_INACTIVE, 0, "SIZE", NULL },
	{ "seed_ratio", TYPE_CHECKED, TRAIT_INACTIVE, 0, "RATIO", NULL },
	{ "publish_dir", TYPE_CHECKED, TRAIT_INACTIVE, 0, "DIR", NULL },
	{ "publish_delay", TYPE_CHECKED, TRAIT_INACTIVE, 0, "SECONDS", NULL },

/* mount(8), fstab and libfuse's own: nothing to do. The mount is
 * nosuid, nodev and noatime whatever they say. */
#define IGNORED(name)                                                          \
	{                                                                      \
		name, TYPE_IGNORED, TRAIT_HIDDEN, 0, NULL, NULL                \
	}
	IGNORED("rw"),
	IGNORED("defaults"),
	IGNORED("dev"),
	IGNORED("nodev"),
	IGNORED("suid"),
	IGNORED("nosuid"),
	IGNORED("noexec"),
	IGNORED("atime"),
	IGNORED("noatime"),
	IGNORED("diratime"),
	IGNORED("nodiratime"),
	IGNORED("relatime"),
	IGNORED("norelatime"),
	IGNORED("strictatime"),
	IGNORED("nostrictatime"),
	IGNORED("lazytime"),
	IGNORED("nolazytime"),
	IGNORED("sync"),
	IGNORED("async"),
	IGNORED("dirsync"),
	IGNORED("mand"),
	IGNORED("nomand"),
	IGNORED("silent"),
	IGNORED("loud"),
	IGNORED("iversion"),
	IGNORED("noiversion"),
	IGNORED("symfollow"),
	IGNORED("nosymfollow"),
	IGNORED("_netdev"),
	IGNORED("auto"),
	IGNORED("noauto"),
	IGNORED("user"),
	IGNORED("nouser"),
	IGNORED("users"),
	IGNORED("owner"),
	IGNORED("group"),
	IGNORED("nofail"),
	IGNORED("comment"),
	IGNORED("nonempty"),
	IGNORED("auto_unmount"),
	IGNORED("drop_privileges"),
	IGNORED("max_read"),
	IGNORED("big_writes"),
	IGNORED("umask"),
	IGNORED("rootcontext"),
	IGNORED("context"),
	IGNORED("fscontext"),
	IGNORED("defcontext"),
	IGNORED("helper"),
	IGNORED("remount"),
	IGNORED("bootwait"),
	IGNORED("nobootwait"),
};
static_assert(ARRAY_LEN(keys) <= 128, "see warn_inactive");

void opts_init(struct opts *o)
{
	memset(o, 0, sizeof(*o));
	o->read_timeout_ms = 120000;
}

static void list_release(struct opts_list *l)
{
	for (size_t i = 0; i < l->num; i++)
		free(l->items[i]);
	free(l->items);
}

void opts_release(struct opts *o)
{
	free(o->state_dir);
	free(o->data_dir);
	free(o->fsname);
	free(o->subtype);
	list_release(&o->peers);
	list_release(&o->trackers);
	memset(o, 0, sizeof(*o));
}

/* ---- values ---- */

static bool parse_number(const char *s, uint64_t max, uint64_t *out)
{
	char *end;

	if (!isdigit((unsigned char)*s))
		return false;
	errno = 0;
	*out = strtoull(s, &end, 10);
	return !errno && !*end && *out <= max;
}

int opts_parse_size(const char *s, uint64_t *out)
{
	static const char units[] = "KMGTP";
	uint64_t whole = 0, tenths = 0, unit = 1;
	unsigned decimals = 0;
	const char *u;

	if (!isdigit((unsigned char)*s))
		return -EINVAL;
	for (; isdigit((unsigned char)*s); s++) {
		if (!checked_mul(whole, 10, &whole) ||
		    !checked_add(whole, (uint64_t)(*s - '0'), &whole))
			return -EINVAL;
	}
	if (*s == '.') {
		for (s++; isdigit((unsigned char)*s); s++) {
			if (!decimals++)
				tenths = (uint64_t)(*s - '0');
		}
		if (!decimals)
			return -EINVAL;
	}
	u = *s ? strchr(units, toupper((unsigned char)*s)) : NULL;
	if (u) {
		unit <<= 10 * (u - units + 1);
		s++;
		if (*s == 'i')
			s++;
	}
	if (*s == 'B' || *s == 'b')
		s++;
	if (*s || !checked_mul(whole, unit, &whole) ||
	    !checked_add(whole, unit / 10 * tenths, out))
		return -EINVAL;
	return 0;
}

static bool set_address(struct addr *v4, struct addr *v6, const char *value)
{
	struct addr a;

	if (addr_parse(value, 0, &a) < 0)
		return false;
	*(a.family == 4 ? v4 : v6) = a;
	return true;
}

static bool set_fill(enum fill_policy *out, const char *value)
{
	static const char *const names[] = { "none", "file", "torrent" };

	for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
		if (!strcmp(value, names[i])) {
			*out = (enum fill_policy)i;
			return true;
		}
	}
	return false;
}

static void set_text(char **at, const char *value)
{
	free(*at);
	*at = mem_strdup(value);
}

static bool list_add(struct opts_list *l, const char *value)
{
	if (!*value || strlen(value) > LIMIT_URL_BYTES ||
	    l->num == LIMIT_TRACKERS)
		return false;
	l->items = mem_realloc_array(l->items, l->num + 1, sizeof(char *));
	l->items[l->num++] = mem_strdup(value);
	return true;
}

/* A flag may stand alone (-o) or have a word (a file). */
static bool set_flag(bool *at, const char *value)
{
	static const char *const yes[] = { "1", "yes", "true", "on" };
	static const char *const no[] = { "0", "no", "false", "off" };

	*at = true;
	if (!value)
		return true;
	for (unsigned i = 0; i < ARRAY_LEN(yes); i++) {
		if (!strcasecmp(value, yes[i]))
			return true;
		if (!strcasecmp(value, no[i])) {
			*at = false;
			return true;
		}
	}
	return false;
}

static bool set_value(struct opts *o, const struct opts_key *k,
		      const char *value)
{
	void *at = (char *)o + k->at;
	uint64_t n = 0;

	switch (k->type) {
	case TYPE_PATH:
	case TYPE_TEXT:
		if (!*value || strlen(value) >= PATH_MAX)
			return false;
		set_text(at, value);
		return true;
	case TYPE_LIST:
		return list_add(at, value);
	case TYPE_PORT:
		if (!parse_number(value, 65535, &n) || !n)
			return false;
		*(uint16_t *)at = (uint16_t)n;
		return true;
	case TYPE_BIND:
		o->has_bind = true;
		return set_address(&o->bind4, &o->bind6, value);
	case TYPE_ADDR:
		return set_address(&o->announce4, &o->announce6, value);
	case TYPE_SIZE:
		return !opts_parse_size(value, at);
	case TYPE_SIZE_CHECKED:
		return !opts_parse_size(value, &n);
	case TYPE_COUNT:
		if (!parse_number(value, LIMIT_PEERS, &n) || !n)
			return false;
		*(unsigned *)at = (unsigned)n;
		return true;
	case TYPE_SECONDS:
		if (!parse_number(value, INT_MAX / 1000, &n))
			return false;
		*(int64_t *)at = (int64_t)n * 1000;
		return true;
	case TYPE_FILL:
		return set_fill(at, value);
	case TYPE_UID:
		o->has_uid = parse_number(value, UINT32_MAX - 1, &n);
		o->uid = (uid_t)n;
		return o->has_uid;
	case TYPE_GID:
		o->has_gid = parse_number(value, UINT32_MAX - 1, &n);
		o->gid = (gid_t)n;
		return o->has_gid;
	case TYPE_FLAG:
		return set_flag(at, value);
	case TYPE_CHECKED:
	case TYPE_IGNORED:
		return true;
	}
	return false;
}

/* ---- keys ---- */

/* How many letters must change to make B of A; both are short. */
static unsigned edit_distance(const char *a, const char *b)
{
	unsigned row[32], la = (unsigned)strlen(a), lb = (unsigned)strlen(b);

	if (lb >= ARRAY_LEN(row) || la >= ARRAY_LEN(row))
		return UINT_MAX;
	for (unsigned j = 0; j <= lb; j++)
		row[j] = j;
	for (unsigned i = 1; i <= la; i++) {
		unsigned diagonal = row[0];

		row[0] = i;
		for (unsigned j = 1; j <= lb; j++) {
			unsigned best = diagonal + (a[i - 1] != b[j - 1]);

			diagonal = row[j];
			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			row[j] = best;
		}
	}
	return row[lb];
}

static const struct opts_key *nearest_key(const char *name)
{
	const struct opts_key *best = &keys[0];
	unsigned least = UINT_MAX;

	for (unsigned i = 0; i < ARRAY_LEN(keys); i++) {
		unsigned d = edit_distance(name, keys[i].name);

		if (d < least) {
			least = d;
			best = &keys[i];
		}
	}
	return best;
}

static const struct opts_key *find_key(const char *name)
{
	for (unsigned i = 0; i < ARRAY_LEN(keys); i++) {
		if (!strcmp(name, keys[i].name))
			return &keys[i];
	}
	return NULL;
}

/* fstab's private remarks: x-systemd.automount, x-gvfs-show, X-mount.mkdir */
static bool is_remark(const char *key)
{
	return !strncmp(key, "x-", 2) || !strncmp(key, "X-", 2);
}

static bool takes_value(const struct opts_key *k)
{
	return k->arg != NULL;
}

static void warn_inactive(struct opts *o, const struct opts_key *k)
{
	size_t i = (size_t)(k - keys);

	if (!(k->traits & TRAIT_INACTIVE) || o->warned[i / 64] >> i % 64 & 1)
		return;
	o->warned[i / 64] |= 1ull << i % 64;
	log_warn("option %s is accepted but not active in this version",
		 k->name);
}

int opts_set(struct opts *o, const char *key, const char *value,
	     char why[OPTS_WHY_SIZE])
{
	const struct opts_key *k = find_key(key);
	char shown[64];

	if (!k && is_remark(key))
		return 0;
	log_vis(key, strlen(key), shown, sizeof(shown));
	if (!k) {
		snprintf(why, OPTS_WHY_SIZE,
			 "unknown option \"%s\"; did you mean \"%s\"?", shown,
			 nearest_key(key)->name);
		return -EINVAL;
	}
	if (takes_value(k) && !value) {
		snprintf(why, OPTS_WHY_SIZE, "option %s needs a value: %s=%s",
			 shown, shown, k->arg);
		return -EINVAL;
	}
	if (!set_value(o, k, value)) {
		char bad[64];

		log_vis(value ? value : "", value ? strlen(value) : 0, bad,
			sizeof(bad));
		snprintf(why, OPTS_WHY_SIZE, "option %s: \"%s\" is no %s",
			 shown, bad, k->arg ? k->arg : "yes or no");
		return -EINVAL;
	}
	if (k->type == TYPE_PATH && k->at == AT(state_dir))
		o->has_state = true;
	if (k->type == TYPE_PATH && k->at == AT(data_dir))
		o->has_data = true;
	warn_inactive(o, k);
	return 0;
}

int opts_parse(struct opts *o, const char *list, char why[OPTS_WHY_SIZE])
{
	char *item = mem_alloc(strlen(list) + 1);
	int r = 0;

	while (!r && *list) {
		char *value = NULL;
		size_t n = 0;

		for (; *list && *list != ','; list++) {
			if (*list == '\\' && list[1])
				list++;
			else if (*list == '=' && !value)
				value = item + n;
			item[n++] = *list;
		}
		item[n] = '\0';
		if (*list == ',')
			list++;
		if (value)
			*value++ = '\0';
		if (n)
			r = opts_set(o, item, value, why);
	}
	free(item);
	return r;
}

/* ---- files ---- */

struct ini_reader {
	struct opts *o;
	char *why;
	int r;
};

static int on_ini(void *arg, const char *section, const char *name,
		  const char *value)
{
	struct ini_reader *reader = arg;

	if (reader->r < 0)
		return 0; /* the first error is the one to tell */
	if (*section && strcmp(section, "weirfs")) {
		snprintf(reader->why, OPTS_WHY_SIZE, "unknown section [%s]",
			 section);
		reader->r = -EINVAL;
	} else {
		reader->r = opts_set(reader->o, name, value, reader->why);
	}
	return reader->r == 0;
}

int opts_read_file(struct opts *o, const char *path, char why[OPTS_WHY_SIZE])
{
	char reason[OPTS_WHY_SIZE] =
		"neither [section], comment nor key = value";
	struct ini_reader reader = { .o = o, .why = reason };
	FILE *f = fopen(path, "re");
	int line;

	if (!f) {
		if (errno == ENOENT || errno == ENOTDIR)
			return 0;
		snprintf(why, OPTS_WHY_SIZE, "%s: %s", path, strerror(errno));
		return -EINVAL;
	}
#ifdef HAVE_INI_MAX_LINE
	ini_use_stack = false;
	ini_allow_realloc = true;
	ini_max_line = 2 * LIMIT_URL_BYTES;
#endif
	line = ini_parse_file(f, on_ini, &reader);
	fclose(f);
	if (!line)
		return 0;
	snprintf(why, OPTS_WHY_SIZE, "%.100s:%d: %.140s", path, line, reason);
	return -EINVAL;
}

static const char *home_dir(void)
{
	const char *home = getenv("HOME");

	return home && *home == '/' ? home : "/";
}

/* XDG base directory; relative values are to be ignored. */
static char *xdg_path(const char *variable, const char *fallback,
		      const char *tail)
{
	const char *base = getenv(variable);

	if (base && *base == '/')
		return mem_printf("%s/%s", base, tail);
	return mem_printf("%s/%s/%s", home_dir(), fallback, tail);
}

int opts_read_config(struct opts *o, char why[OPTS_WHY_SIZE])
{
	char *mine =
		xdg_path("XDG_CONFIG_HOME", ".config", "weirfs/weirfs.conf");
	int r = opts_read_file(o, "/etc/weirfs.conf", why);

	if (!r)
		r = opts_read_file(o, mine, why);
	free(mine);
	return r;
}

/* ---- what was not said ---- */

static int make_absolute(char **path, char why[OPTS_WHY_SIZE])
{
	char *cwd, *full;

	if (**path == '/')
		return 0;
	cwd = getcwd(NULL, 0);
	if (!cwd) {
		snprintf(why, OPTS_WHY_SIZE, "current directory: %s",
			 strerror(errno));
		return -EINVAL;
	}
	full = mem_printf("%s/%s", strcmp(cwd, "/") ? cwd : "", *path);
	free(cwd);
	free(*path);
	*path = full;
	return 0;
}

static char *default_state(void)
{
	if (!geteuid())
		return mem_strdup("/var/lib/weirfs");
	return xdg_path("XDG_STATE_HOME", ".local/state", "weirfs");
}

static char *default_data(const struct opts *o)
{
	if (o->has_state)
		return mem_printf("%s/data", o->state_dir);
	if (!geteuid())
		return mem_strdup("/var/lib/weirfs/data");
	return xdg_path("XDG_DATA_HOME", ".local/share", "weirfs");
}

static void set_apart(char **path, const char *instance)
{
	char *apart = mem_printf("%s/single/%s", *path, instance);

	free(*path);
	*path = apart;
}

int opts_finish(struct opts *o, const char *instance, char why[OPTS_WHY_SIZE])
{
	if (!o->has_data) {
		free(o->data_dir);
		o->data_dir = default_data(o);
		if (instance && !o->has_state)
			set_apart(&o->data_dir, instance);
	}
	if (!o->has_state) {
		free(o->state_dir);
		o->state_dir = default_state();
		if (instance)
			set_apart(&o->state_dir, instance);
	}
	if (make_absolute(&o->state_dir, why) < 0 ||
	    make_absolute(&o->data_dir, why) < 0)
		return -EINVAL;
	if (strlen(o->state_dir) > LIMIT_PATH_BYTES ||
	    strlen(o->data_dir) > LIMIT_PATH_BYTES) {
		snprintf(why, OPTS_WHY_SIZE, "state or data: path too long");
		return -EINVAL;
	}
	if (!o->has_bind) {
		addr_parse("0.0.0.0", 0, &o->bind4);
		addr_parse("::", 0, &o->bind6);
	}
	return 0;
}

/* ---- help ---- */

static void print_key(FILE *f, const struct opts_key *k)
{
	char left[32];

	snprintf(left, sizeof(left), "%s%s%s", k->name, k->arg ? "=" : "",
		 k->arg ? k->arg : "");
	fprintf(f, "  %-22s %s\n", left, k->help);
}

static void print_inactive(FILE *f)
{
	unsigned column = 80;

	fprintf(f, "Accepted, not active in this version:");
	for (unsigned i = 0; i < ARRAY_LEN(keys); i++) {
		unsigned n = (unsigned)strlen(keys[i].name) + 1;

		if (!(keys[i].traits & TRAIT_INACTIVE))
			continue;
		if (column + n > 78) {
			fputs("\n ", f);
			column = 1;
		}
		fprintf(f, " %s", keys[i].name);
		column += n;
	}
	fputs("\nSIZE takes the suffixes K, M, G, T (powers of 1024).\n", f);
}

void opts_print_help(FILE *f, bool is_mount)
{
	fputs("Options for -o, with commas between them:\n", f);
	for (unsigned i = 0; i < ARRAY_LEN(keys); i++) {
		const struct opts_key *k = &keys[i];

		if (k->help && (is_mount || !(k->traits & TRAIT_MOUNT)))
			print_key(f, k);
	}
	print_inactive(f);
	fputs("The same keys stand, one KEY = VALUE a line, in "
	      "/etc/weirfs.conf and in\n"
	      "~/.config/weirfs/weirfs.conf. Default folders of a user: "
	      "state in\n"
	      "~/.local/state/weirfs, data in ~/.local/share/weirfs; of root: "
	      "/var/lib/weirfs\n"
	      "and its folder data. With state=DIR alone, data is DIR/data.\n",
	      f);
}
