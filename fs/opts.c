/* What the keys of opts_keys.c do to a struct opts. Order of reading:
 * /etc/weirfs.conf, the user's file, the command line; the last word counts,
 * lists add up. */
#include "fs/opts.h"

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
#include "fs/opts_keys.h"

void opts_init(struct opts *o)
{
	memset(o, 0, sizeof(*o));
	o->read_timeout_ms = 120000;
	o->publish_delay_ms = 2000;
	o->has_kenosis = true;
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
	free(o->publish_dir);
	free(o->publish_match);
	free(o->publish_webseed);
	free(o->fsname);
	free(o->subtype);
	list_release(&o->peers);
	list_release(&o->trackers);
	list_release(&o->bootstrap);
	list_release(&o->overlay);
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

static bool is_tracker(const char *url)
{
	static const char *const schemes[] = { "http://", "https://",
					       "udp://" };

	for (unsigned i = 0; i < ARRAY_LEN(schemes); i++) {
		size_t n = strlen(schemes[i]);

		if (!strncasecmp(url, schemes[i], n) && url[n])
			return true;
	}
	return false;
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
	case TYPE_URLS:
		return is_tracker(value) && list_add(at, value);
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
	case TYPE_SWITCH:
		return set_flag(at, value);
	case TYPE_CHECKED:
		return true;
	}
	return false;
}

/* ---- keys ---- */

static bool takes_value(const struct opts_key *k)
{
	return k->arg != NULL;
}

static void warn_inactive(struct opts *o, const struct opts_key *k)
{
	uint64_t bit = 1ull << opts_key_index(k);

	if (!(k->traits & TRAIT_INACTIVE) || o->warned & bit)
		return;
	o->warned |= bit;
	log_warn("option %s is accepted but not active in this version",
		 k->name);
}

/* What a wrong value should have been. */
static const char *kind_of(const struct opts_key *k)
{
	if (!k->arg)
		return "yes or no";
	return strcmp(k->arg, "N") ? k->arg : "number that will do";
}

static void say_unknown(const char *key, const char *shown,
			char why[OPTS_WHY_SIZE])
{
	const struct opts_key *near = opts_key_nearest(key);

	if (near)
		snprintf(why, OPTS_WHY_SIZE,
			 "unknown option \"%s\"; did you mean \"%s\"?", shown,
			 near->name);
	else
		snprintf(why, OPTS_WHY_SIZE,
			 "unknown option \"%s\"; --help lists them all", shown);
}

int opts_set(struct opts *o, const char *key, const char *value,
	     char why[OPTS_WHY_SIZE])
{
	const struct opts_key *k = opts_key_find(key);
	char shown[64];

	if (!k && opts_key_is_ignored(key))
		return 0;
	log_vis(key, strlen(key), shown, sizeof(shown));
	if (!k) {
		say_unknown(key, shown, why);
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
			 shown, bad, kind_of(k));
		return -EINVAL;
	}
	if (k->type == TYPE_PATH && k->at == offsetof(struct opts, state_dir))
		o->has_state = true;
	if (k->type == TYPE_PATH && k->at == offsetof(struct opts, data_dir))
		o->has_data = true;
	if (k->type == TYPE_PATH && k->at == offsetof(struct opts, publish_dir))
		o->has_publish = true;
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

static char *default_publish(const struct opts *o)
{
	if (o->has_state || !geteuid())
		return mem_printf("%s/publish", o->state_dir);
	return xdg_path("XDG_DATA_HOME", ".local/share", "weirfs/publish");
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
	if (!o->publish_dir)
		o->publish_dir = default_publish(o);
	if (make_absolute(&o->state_dir, why) < 0 ||
	    make_absolute(&o->data_dir, why) < 0 ||
	    make_absolute(&o->publish_dir, why) < 0)
		return -EINVAL;
	if (strlen(o->state_dir) > LIMIT_PATH_BYTES ||
	    strlen(o->data_dir) > LIMIT_PATH_BYTES ||
	    strlen(o->publish_dir) > LIMIT_PATH_BYTES) {
		snprintf(why, OPTS_WHY_SIZE,
			 "state, data or publish_dir: path too long");
		return -EINVAL;
	}
	if (!o->has_bind) {
		addr_parse("0.0.0.0", 0, &o->bind4);
		addr_parse("::", 0, &o->bind6);
	}
	return 0;
}
