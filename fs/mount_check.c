/* Before anything is mounted: every way in which it could fail that a person
 * can do something about gets a sentence of its own. */
#include "fs/mount.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "engine/base/mem.h"

#define SAY(...) snprintf(why, SESSION_WHY_SIZE, __VA_ARGS__)

/* The fields of /proc/self/mountinfo have spaces as \040. */
static void undo_escapes(char *s)
{
	char *to = s;

	for (; *s; s++) {
		if (*s == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] && s[3]) {
			*to++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 |
				       (s[3] - '0'));
			s += 3;
		} else {
			*to++ = *s;
		}
	}
	*to = '\0';
}

/* The type of the last file system mounted at POINT; false: none is. */
static bool mounted_type(const char *point, char *out, size_t size)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	char *line = NULL;
	size_t cap = 0;
	bool is_found = false;

	while (f && getline(&line, &cap, f) > 0) {
		char *rest = strstr(line, " - "), *at = line;
		char *end;

		for (int field = 0; field < 4 && at; field++) {
			at = strchr(at, ' ');
			at = at ? at + 1 : NULL;
		}
		end = at ? strchr(at, ' ') : NULL;
		if (!end || !rest)
			continue;
		*end = '\0';
		undo_escapes(at);
		if (strcmp(at, point))
			continue;
		is_found = true;
		snprintf(out, size, "%.*s", (int)strcspn(rest + 3, " "),
			 rest + 3);
	}
	free(line);
	if (f)
		fclose(f);
	return is_found;
}

static bool find_fusermount(char *out, size_t size)
{
	const char *path = getenv("PATH");

	for (path = path ? path : "/usr/bin:/bin"; *path;) {
		size_t n = strcspn(path, ":");

		snprintf(out, size, "%.*s/fusermount3", (int)n, path);
		if (n && !access(out, X_OK))
			return true;
		path += n + (path[n] == ':');
	}
	snprintf(out, size, "/bin/fusermount3");
	return !access(out, X_OK);
}

static int clear_stale(const char *point)
{
	char program[512];
	char *const args[] = { "fusermount3", "-uz", (char *)(uintptr_t)point,
			       NULL };
	pid_t pid;
	int status;

	if (!geteuid())
		return umount2(point, MNT_DETACH | UMOUNT_NOFOLLOW) < 0 ? -errno
									: 0;
	if (!find_fusermount(program, sizeof(program)) ||
	    posix_spawn(&pid, program, NULL, NULL, args, environ))
		return -ENOENT;
	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return -errno;
	}
	return WIFEXITED(status) && !WEXITSTATUS(status) ? 0 : -EPERM;
}

/* A daemon that died leaves a mount whose every use says ENOTCONN. */
static int check_stale(const struct opts *o, const char *point,
		       char why[SESSION_WHY_SIZE])
{
	char type[64] = "", ours[64];

	snprintf(ours, sizeof(ours), "fuse.%s",
		 o->subtype ? o->subtype : "weirfs");
	if (!mounted_type(point, type, sizeof(type)) || strcmp(type, ours)) {
		SAY("%.300s: a dead %s file system is mounted there; "
		    "fusermount3 -uz it first",
		    point, *type ? type : "FUSE");
		return -ENOTCONN;
	}
	if (clear_stale(point) < 0) {
		SAY("%.300s: cannot clear away a dead mount; try fusermount3 "
		    "-uz",
		    point);
		return -ENOTCONN;
	}
	log_info("cleared a dead mount at %s", point);
	return 0;
}

static void warn_if_filled(const char *point)
{
	DIR *d = opendir(point);
	struct dirent *e;

	while (d && (e = readdir(d))) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		log_warn("%s is not empty: what is in it is hidden while "
			 "mounted",
			 point);
		break;
	}
	if (d)
		closedir(d);
}

/* stat may be answered from what the kernel remembers of a dead daemon;
 * statfs asks it. */
static int probe(const char *point, struct stat *st)
{
	struct statvfs fs;
	char type[64] = "";

	if (mounted_type(point, type, sizeof(type)) &&
	    !strncmp(type, "fuse", 4) && statvfs(point, &fs) < 0)
		return -errno;
	return stat(point, st) < 0 ? -errno : 0;
}

static int check_point(const struct opts *o, const char *point,
		       char why[SESSION_WHY_SIZE])
{
	char type[64] = "";
	struct stat st;
	int r = probe(point, &st);

	if (r == -ENOTCONN || r == -ECONNABORTED) {
		r = check_stale(o, point, why);
		if (r < 0)
			return r;
		r = probe(point, &st);
	}
	if (r == -ENOENT)
		SAY("%.300s: no such folder; make it with mkdir", point);
	else if (r < 0)
		SAY("%.300s: %s", point, strerror(-r));
	if (r < 0)
		return r;
	if (!S_ISDIR(st.st_mode)) {
		SAY("%.300s: not a folder", point);
		return -ENOTDIR;
	}
	if (mounted_type(point, type, sizeof(type)) &&
	    !strcmp(type, "fuse.weirfs")) {
		SAY("%.300s: busy, weirfs is mounted there already; fusermount3"
		    " -u %.100s first",
		    point, point);
		return -EBUSY;
	}
	if (geteuid() && access(point, W_OK) < 0) {
		SAY("%.300s: not writable by you, so you may not mount there",
		    point);
		return -EACCES;
	}
	warn_if_filled(point);
	return 0;
}

static int check_device(char why[SESSION_WHY_SIZE])
{
	char program[512];

	if (access("/dev/fuse", F_OK) < 0) {
		SAY("/dev/fuse is missing: load it with \"modprobe fuse\"; in "
		    "a container, add --device /dev/fuse --cap-add SYS_ADMIN");
		return -ENODEV;
	}
	if (access("/dev/fuse", R_OK | W_OK) < 0) {
		SAY("no permission on /dev/fuse: ask the administrator for "
		    "\"chmod 666 /dev/fuse\" or for its group");
		return -EACCES;
	}
	if (geteuid() && !find_fusermount(program, sizeof(program))) {
		SAY("fusermount3 is missing: install the package fuse3");
		return -ENOENT;
	}
	return 0;
}

static bool has_user_allow_other(void)
{
	FILE *f = fopen("/etc/fuse.conf", "re");
	char line[256];
	bool is_found = false;

	while (f && !is_found && fgets(line, sizeof(line), f)) {
		char word[64];

		is_found = sscanf(line, " %63s", word) == 1 &&
			   !strcmp(word, "user_allow_other");
	}
	if (f)
		fclose(f);
	return is_found;
}

static bool is_within(const char *path, const char *folder)
{
	size_t n = strlen(folder);

	return !strncmp(path, folder, n) &&
	       (!path[n] || path[n] == '/' || n == 1);
}

/* We would publish ourselves, or wait for ourselves. POINT is canonical, and
 * publish_dir may not be there yet. */
static int check_publish(const struct opts *o, const char *point,
			 char why[SESSION_WHY_SIZE])
{
	char *full = o->publish_dir ? realpath(o->publish_dir, NULL) : NULL;
	const char *dir = full ? full : o->publish_dir;
	int r = 0;

	if (dir && !o->is_single &&
	    (is_within(point, dir) || is_within(dir, point))) {
		SAY("publish_dir %.200s and the mount point %.200s must not be "
		    "one inside the other",
		    dir, point);
		r = -EINVAL;
	}
	free(full);
	return r;
}

int mount_check(const struct opts *o, const char *point,
		char why[SESSION_WHY_SIZE])
{
	int r;

	if (!strncmp(point, "/dev/fd/", 8))
		return 0; /* mount.fuse3 has mounted, we get the descriptor */
	r = check_device(why);
	if (!r)
		r = check_point(o, point, why);
	if (!r)
		r = check_publish(o, point, why);
	if (!r && (o->allow_other || o->allow_root) && geteuid() &&
	    !has_user_allow_other()) {
		SAY("allow_other needs a line \"user_allow_other\" in "
		    "/etc/fuse.conf, which root must write");
		r = -EPERM;
	}
	return r;
}
