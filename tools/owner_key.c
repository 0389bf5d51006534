#include "tools/owner_key.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "engine/base/mem.h"
#include "engine/magnet.h"
#include "tools/facts.h"

static int first_key(char **urls, size_t num, const char *what,
		     struct key_url *out, char why[FACTS_WHY_SIZE])
{
	for (size_t i = 0; i < num; i++) {
		if (key_url_parse(urls[i], out))
			return 0;
	}
	snprintf(why, FACTS_WHY_SIZE,
		 "%.100s: none of its %zu trackers is a key "
		 "(http://KEY.bt.example.org/announce)",
		 what, num);
	return -EINVAL;
}

static int of_magnet(const char *link, struct key_url *out,
		     char why[FACTS_WHY_SIZE])
{
	char reason[MAGNET_WHY_SIZE];
	struct magnet *m;
	int r = magnet_parse(link, strlen(link), &m, reason);

	if (r < 0) {
		snprintf(why, FACTS_WHY_SIZE, "%s", reason);
		return r;
	}
	r = first_key(m->trackers, m->num_trackers, "the link", out, why);
	magnet_free(m);
	return r;
}

static int of_torrent(const char *path, struct key_url *out,
		      char why[FACTS_WHY_SIZE])
{
	struct metainfo *mi;
	int r = facts_read_torrent(path, &mi, why);

	if (r < 0)
		return r;
	r = first_key(mi->trackers, mi->num_trackers, path, out, why);
	metainfo_free(mi);
	return r;
}

static bool has_end(const char *text, const char *end)
{
	size_t len = strlen(text), n = strlen(end);

	return len >= n && !strcasecmp(text + len - n, end);
}

int owner_key_find(const char *what, const char *domain, struct key_url *out,
		   char why[FACTS_WHY_SIZE])
{
	const char *dot = domain && *domain ? "." : "";
	char *url;
	bool is_key;

	if (!strncasecmp(what, "magnet:", 7))
		return of_magnet(what, out, why);
	if (has_end(what, ".torrent") && !strstr(what, "://"))
		return of_torrent(what, out, why);
	url = strstr(what, "://") ? mem_strdup(what)
				  : mem_printf("http://%s%s%s/announce", what,
					       dot, domain ? domain : "");
	is_key = key_url_parse(url, out);
	free(url);
	if (is_key)
		return 0;
	if (domain)
		snprintf(why, FACTS_WHY_SIZE,
			 "\"%.60s\" in \"%.60s\" is no key: domains begin with "
			 "bt., as in bt.example.org",
			 what, domain);
	else if (strstr(what, "://"))
		snprintf(why, FACTS_WHY_SIZE,
			 "the host of %.100s is a machine and not a key "
			 "(KEY.bt.example.org)",
			 what);
	else
		snprintf(why, FACTS_WHY_SIZE,
			 "which overlay is \"%.60s\" a key of? Give --domain, "
			 "or KEY.bt.example.org, or a whole URL",
			 what);
	return -EINVAL;
}
