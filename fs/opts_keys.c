/* Every key stands once in the table: how its value is read, whether its
 * feature is built, and what --help says. */
#include "fs/opts_keys.h"

#include <assert.h>
#include <limits.h>
#include <string.h>

#include "engine/base/mem.h"

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
	{ "tracker", TYPE_URLS, 0, AT(trackers), "URL",
	  "a tracker for every public torrent; may be repeated" },
	{ "bootstrap", TYPE_LIST, 0, AT(bootstrap), "HOST:PORT",
	  "a DHT node to begin with (none: private); repeatable" },
	{ "nodht", TYPE_FLAG, 0, AT(no_dht), NULL,
	  "no DHT: peers come from trackers and peer= alone" },
	{ "kenosis", TYPE_SWITCH, 0, AT(has_kenosis), "0|1",
	  "1: ask a key's trackers through their overlay (1)" },
	{ "overlay", TYPE_LIST, 0, AT(overlay), "HOST:PORT",
	  "a tracker to find an overlay by; may be repeated" },
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
	{ "publish_dir", TYPE_PATH, 0, AT(publish_dir), "DIR",
	  "what lies here is published; may be read-only" },
	{ "publish_delay", TYPE_SECONDS, 0, AT(publish_delay_ms), "SECONDS",
	  "quiet for so long, a file is finished (2; folders: x 5)" },
	{ "publish_match", TYPE_TEXT, 0, AT(publish_match), "GLOB",
	  "publish what matches, at any depth (*.iso, pool/*/*)" },
	{ "publish_webseed", TYPE_TEXT, 0, AT(publish_webseed), "URL",
	  "publish_dir is served there, too: a web seed" },
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
	{ "nolsd", TYPE_CHECKED, TRAIT_INACTIVE, 0, NULL, NULL },
	{ "nopex", TYPE_CHECKED, TRAIT_INACTIVE, 0, NULL, NULL },
	{ "noutp", TYPE_CHECKED, TRAIT_INACTIVE, 0, NULL, NULL },
	{ "notcp", TYPE_CHECKED, TRAIT_INACTIVE, 0, NULL, NULL },
	{ "encryption", TYPE_CHECKED, TRAIT_INACTIVE, 0, "prefer|require|off",
	  NULL },
	{ "cache_size", TYPE_SIZE_CHECKED, TRAIT_INACTIVE, 0, "SIZE", NULL },
	{ "seed_ratio", TYPE_CHECKED, TRAIT_INACTIVE, 0, "RATIO", NULL },
};
static_assert(ARRAY_LEN(keys) <= 64, "struct opts has a bit for each");

/* The mount is nosuid, nodev and noatime whatever these say. */
static const char *const ignored[] = { "rw",
				       "defaults",
				       "dev",
				       "nodev",
				       "suid",
				       "nosuid",
				       "noexec",
				       "atime",
				       "noatime",
				       "diratime",
				       "nodiratime",
				       "relatime",
				       "norelatime",
				       "strictatime",
				       "nostrictatime",
				       "lazytime",
				       "nolazytime",
				       "sync",
				       "async",
				       "dirsync",
				       "mand",
				       "nomand",
				       "silent",
				       "loud",
				       "iversion",
				       "noiversion",
				       "symfollow",
				       "nosymfollow",
				       "_netdev",
				       "auto",
				       "noauto",
				       "user",
				       "nouser",
				       "users",
				       "owner",
				       "group",
				       "nofail",
				       "comment",
				       "nonempty",
				       "auto_unmount",
				       "drop_privileges",
				       "max_read",
				       "big_writes",
				       "umask",
				       "rootcontext",
				       "context",
				       "fscontext",
				       "defcontext",
				       "helper",
				       "remount",
				       "bootwait",
				       "nobootwait" };

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

const struct opts_key *opts_key_nearest(const char *name)
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
	return least <= 1 + strlen(name) / 3 ? best : NULL;
}

const struct opts_key *opts_key_find(const char *name)
{
	for (unsigned i = 0; i < ARRAY_LEN(keys); i++) {
		if (!strcmp(name, keys[i].name))
			return &keys[i];
	}
	return NULL;
}

unsigned opts_key_index(const struct opts_key *key)
{
	return (unsigned)(key - keys);
}

/* fstab's private remarks: x-systemd.automount, X-mount.mkdir */
static bool is_remark(const char *name)
{
	return !strncmp(name, "x-", 2) || !strncmp(name, "X-", 2);
}

bool opts_key_is_ignored(const char *name)
{
	if (is_remark(name))
		return true;
	for (unsigned i = 0; i < ARRAY_LEN(ignored); i++) {
		if (!strcmp(name, ignored[i]))
			return true;
	}
	return false;
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
