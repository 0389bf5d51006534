#include "tracker/server/http_pages.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* What is told of the swarms and of the web itself, once for all pages. */
struct figure {
	const char *name; /* in JSON; metrics put their prefix before it */
	const char *help;
	bool is_counter;
	uint64_t value;
};

#define SWARM_FIGURES 10
#define WEB_FIGURES   12

static void swarm_figures(const struct http_site *site,
			  struct figure out[SWARM_FIGURES])
{
	struct swarms_stats s;

	swarms_stats(site->policy->swarms, &s);
	const struct figure all[SWARM_FIGURES] = {
		{ "torrents", "Torrents with peers or counters", false,
		  s.torrents },
		{ "peers4", "Peers reached over IPv4", false, s.peers4 },
		{ "peers6", "Peers reached over IPv6", false, s.peers6 },
		{ "seeders", "Peers that have everything", false, s.seeders },
		{ "gone", "Peers that left and are remembered", false, s.gone },
		{ "completed", "Downloads completed, over all torrents", false,
		  s.completed },
		{ "swarm_bytes", "Memory of torrents and peers", false,
		  s.bytes },
		{ "expired", "Peers that fell silent", true, s.expired },
		{ "evicted", "Torrents dropped for want of room", true,
		  s.evicted },
		{ "refused", "Announces not listed for want of room", true,
		  s.refused },
	};
	memcpy(out, all, sizeof(all));
}

static void web_figures(const struct http_site *site,
			struct figure out[WEB_FIGURES])
{
	struct web_stats s = { 0 };

	site->stats(site->stats_arg, &s);
	const struct figure all[WEB_FIGURES] = {
		{ "connections", "Connections accepted", true, s.connections },
		{ "open", "Connections that wait now", false, s.open },
		{ "requests", "Requests answered", true, s.requests },
		{ "announces", "Announces accepted", true, s.announces },
		{ "scrapes", "Scrapes answered", true, s.scrapes },
		{ "full_scrapes", "Full scrapes begun", true, s.full_scrapes },
		{ "failures", "Announces and scrapes that made no sense", true,
		  s.failures },
		{ "malformed", "Requests that were no HTTP", true,
		  s.malformed },
		{ "rate_limited", "Requests refused as too many", true,
		  s.rate_limited },
		{ "denied", "Announces of torrents not tracked here", true,
		  s.denied },
		{ "timeouts", "Connections closed as too slow or idle", true,
		  s.timeouts },
		{ "over_cap", "Connections closed for want of room", true,
		  s.over_cap },
	};
	memcpy(out, all, sizeof(all));
}

/* --- for programs --- */

static void add_members(struct buf *out, const struct figure *f, size_t n)
{
	for (size_t i = 0; i < n; i++)
		buf_printf(out, "%s\"%s\":%" PRIu64, i ? "," : "", f[i].name,
			   f[i].value);
}

void http_page_json(const struct http_site *site, struct buf *out)
{
	struct figure swarms[SWARM_FIGURES], web[WEB_FIGURES];
	const struct web_options *o = site->options;
	size_t before;

	swarm_figures(site, swarms);
	web_figures(site, web);
	buf_add_str(out, "{\"version\":\"" WEIRFS_VERSION "\",\"swarms\":{");
	add_members(out, swarms, SWARM_FIGURES);
	buf_add_str(out, "},\"http\":{");
	add_members(out, web, WEB_FIGURES);
	buf_add_str(out, "}");
	if (o->describe_json) {
		buf_add_str(out, ",");
		before = out->len;
		o->describe_json(o->arg, out);
		if (out->len == before && before)
			out->len--; /* nothing to say: no comma */
	}
	buf_add_str(out, "}\n");
}

void http_metric(struct buf *out, const char *name, const char *help,
		 bool is_counter, uint64_t value)
{
	buf_printf(out, "# HELP %s %s.\n# TYPE %s %s\n%s %" PRIu64 "\n", name,
		   help, name, is_counter ? "counter" : "gauge", name, value);
}

static void add_metrics(struct buf *out, const char *prefix,
			const struct figure *f, size_t n)
{
	char name[128];

	for (size_t i = 0; i < n; i++) {
		(void)snprintf(name, sizeof(name), "%s%s%s", prefix, f[i].name,
			       f[i].is_counter ? "_total" : "");
		http_metric(out, name, f[i].help, f[i].is_counter, f[i].value);
	}
}

void http_page_metrics(const struct http_site *site, struct buf *out)
{
	struct figure swarms[SWARM_FIGURES], web[WEB_FIGURES];
	const struct web_options *o = site->options;

	swarm_figures(site, swarms);
	web_figures(site, web);
	add_metrics(out, "weir_tracker_", swarms, SWARM_FIGURES);
	add_metrics(out, "weir_tracker_http_", web, WEB_FIGURES);
	if (o->describe_metrics)
		o->describe_metrics(o->arg, out);
}

void http_page_robots(struct buf *out)
{
	buf_add_str(out, "User-agent: *\nDisallow: /\n");
}

/* --- for people --- */

static void add_escaped(struct buf *out, const void *bytes, size_t len)
{
	const uint8_t *at = bytes;

	for (size_t i = 0; i < len; i++) {
		if (at[i] >= 0x80 || strchr("<>&\"'", at[i]))
			buf_printf(out, "&#%u;", at[i]);
		else
			buf_add(out, at + i, 1);
	}
}

static void add_url(struct buf *out, struct span host, bool is_tls,
		    const char *path)
{
	buf_add_str(out, is_tls ? "https://" : "http://");
	add_escaped(out, host.ptr, host.len);
	buf_add_str(out, path);
}

static void add_count(struct buf *out, uint64_t n, const char *what)
{
	buf_printf(out, "<div><b>%" PRIu64 "</b> %s</div>\n", n, what);
}

static void add_counts(const struct http_site *site, struct buf *out)
{
	struct swarms_stats s;

	swarms_stats(site->policy->swarms, &s);
	buf_add_str(out, "<section>\n");
	add_count(out, s.torrents, "torrents");
	add_count(out, s.peers4 + s.peers6, "peers");
	add_count(out, s.seeders, "of them seeders");
	add_count(out, s.completed, "downloads completed");
	buf_add_str(out, "</section>\n");
}

static void add_usage(const struct http_site *site, struct span host,
		      bool is_tls, struct buf *out)
{
	const struct tracker_policy *p = site->policy;

	if (!host.len)
		host = (struct span){ (const uint8_t *)"this.host", 9 };
	buf_add_str(out, "<h2>Use it</h2>\n<p>Put this address among the "
			 "trackers of a torrent:</p>\n<pre>");
	add_url(out, host, is_tls, "/announce");
	buf_add_str(out, "</pre>\n<p>Clients come back every ");
	buf_printf(out,
		   "%u minutes. Counts of one torrent are at <code>"
		   "/scrape?info_hash=&hellip;</code>, counts of this "
		   "tracker at <a href=\"/stats.json\">/stats.json</a> "
		   "and <a href=\"/metrics\">/metrics</a>.</p>\n",
		   p->interval_s / 60);
	if (!p->domain)
		return;
	buf_add_str(out, "<p>It belongs to an overlay of trackers that stand "
			 "in for each other. Torrents announce to a name, not "
			 "to a machine:</p>\n<pre>http://KEY.");
	add_escaped(out, p->domain, strlen(p->domain));
	buf_add_str(out, "/announce</pre>\n");
}

void http_page_index(const struct http_site *site, struct span host,
		     bool is_tls, bool shows, struct buf *out)
{
	const char *name = site->policy->domain;

	if (!name)
		name = "weir-tracker";
	buf_add_str(out,
		    "<!doctype html>\n<html lang=\"en\">\n<meta charset=\""
		    "utf-8\">\n<meta name=\"viewport\" content=\"width=device-"
		    "width\">\n<title>");
	add_escaped(out, name, strlen(name));
	buf_add_str(out,
		    "</title>\n<style>\n"
		    ":root{color-scheme:light dark}\n"
		    "body{font:1.05em/1.6 system-ui,sans-serif;max-width:42em;"
		    "margin:3em auto;padding:0 1em}\n"
		    "h1{font-weight:600;border-bottom:3px solid #2a7f9e}\n"
		    "h2{font-weight:600;margin-top:2em}\n"
		    "section{display:flex;flex-wrap:wrap;gap:1em 2.5em}\n"
		    "b{display:block;font-size:1.9em;line-height:1.2;"
		    "font-variant-numeric:tabular-nums}\n"
		    "pre{padding:.7em 1em;background:#8882;overflow-x:auto}\n"
		    "a{color:#2a7f9e}\n</style>\n<h1>");
	add_escaped(out, name, strlen(name));
	buf_add_str(out, "</h1>\n<p>A BitTorrent tracker: it tells those who "
			 "share a torrent of each other.</p>\n");
	if (shows)
		add_counts(site, out);
	add_usage(site, host, is_tls, out);
	buf_add_str(out, "<p><small>weir-tracker " WEIRFS_VERSION
			 ", part of weirfs</small></p>\n</html>\n");
}
