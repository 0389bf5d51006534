#include "tracker/privileges.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int become(const char *user, const struct passwd *pw)
{
	if (initgroups(user, pw->pw_gid) ||
	    setresgid(pw->pw_gid, pw->pw_gid, pw->pw_gid) ||
	    setresuid(pw->pw_uid, pw->pw_uid, pw->pw_uid))
		return -errno;
	/* There must be no way back, unless root was asked for. */
	return pw->pw_uid && (!setuid(0) || !seteuid(0)) ? -EPERM : 0;
}

int privileges_drop(const char *user, char *why, size_t why_size)
{
	char room[4096];
	struct passwd pw, *found = NULL;
	int r = -getpwnam_r(user, &pw, room, sizeof(room), &found);

	if (!found) {
		snprintf(why, why_size, "--user %s: %s", user,
			 r ? strerror(-r) : "there is no such user");
		return r ? r : -ENOENT;
	}
	if (geteuid() == pw.pw_uid && getuid() == pw.pw_uid)
		return 0;
	r = become(user, &pw);
	if (r)
		snprintf(why, why_size, "--user %s: %s%s", user, strerror(-r),
			 geteuid() ? "; only root can become somebody else"
				   : "");
	return r;
}
