#include "tracker/server/server_stats.h"

#include <inttypes.h>
#include <string.h>

#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "tracker/server/http_pages.h"

struct figure {
	const char *json, *metric, *help;
	bool is_counter;
	uint64_t value;
};

#define UDP_FIGURES 11

static void udp_figures(const struct server_facts *f,
			struct figure out[UDP_FIGURES])
{
	struct packets_stats s = { 0 };

	if (f->packets)
		packets_stats(f->packets, &s);
#define UDP(name, help)                                                        \
	{                                                                      \
#name, "weir_tracker_udp_" #name "_total", help, true, s.name  \
	}
	const struct figure all[UDP_FIGURES] = {
		UDP(connects, "Connection ids given"),
		UDP(announces, "Announces accepted"),
		UDP(scrapes, "Scrapes answered"),
		UDP(errors_out, "Error messages sent"),
		UDP(bad_connection_id, "Requests with a wrong connection id"),
		UDP(malformed, "Datagrams that made no sense"),
		UDP(rate_limited, "Announces refused as too many"),
		UDP(denied, "Announces of torrents not tracked here"),
		UDP(overlay_in, "Datagrams for the overlay"),
		UDP(overlay_dropped, "Of these dropped for want of room"),
		UDP(send_failed, "Answers that could not be sent"),
	};
#undef UDP
	memcpy(out, all, sizeof(all));
}

#define OWN_FIGURES 5

static void own_figures(struct server_facts *f, struct figure out[OWN_FIGURES])
{
	const struct figure all[OWN_FIGURES] = {
		{ "uptime_s", "weir_tracker_uptime_seconds",
		  "Since it was started", false,
		  (uint64_t)(clock_now_ms() - f->start_ms) / 1000 },
		{ "listed", "weir_tracker_listed",
		  "Entries of the allow or deny list", false,
		  f->access ? access_count(f->access) : 0 },
		{ "saved_at", "weir_tracker_saved_seconds",
		  "When the state was saved, since 1970", false,
		  (uint64_t)atomic_load(&f->saved_s) },
		{ "save_failures", "weir_tracker_save_failures_total",
		  "Saves of the state that failed", true,
		  atomic_load(&f->save_failures) },
		{ "tellings_dropped", "weir_tracker_tellings_dropped_total",
		  "Announces not told to other owners at once", true,
		  f->tellq ? tellq_dropped(f->tellq) : 0 },
	};

	memcpy(out, all, sizeof(all));
}

void server_facts_init(struct server_facts *f, int64_t now_ms)
{
	memset(f, 0, sizeof(*f));
	f->start_ms = now_ms;
}

void server_facts_saved(struct server_facts *f, int result, int64_t wall_s)
{
	if (result)
		atomic_fetch_add(&f->save_failures, 1);
	else
		atomic_store(&f->saved_s, wall_s);
}

void server_facts_json(void *arg, struct buf *out)
{
	struct server_facts *f = arg;
	struct figure own[OWN_FIGURES], udp[UDP_FIGURES];
	size_t before;

	own_figures(f, own);
	udp_figures(f, udp);
	for (size_t i = 0; i < OWN_FIGURES; i++)
		buf_printf(out, "\"%s\":%" PRIu64 ",", own[i].json,
			   own[i].value);
	buf_add_str(out, "\"udp\":{");
	for (size_t i = 0; i < UDP_FIGURES; i++)
		buf_printf(out, "%s\"%s\":%" PRIu64, i ? "," : "", udp[i].json,
			   udp[i].value);
	buf_add_str(out, "}");
	if (!f->plugs->describe_json)
		return;
	buf_add_str(out, ",");
	before = out->len;
	f->plugs->describe_json(f->plugs->arg, out);
	if (out->len == before)
		out->len--; /* nothing to say: no comma */
}

static void add_metrics(struct buf *out, const struct figure *f, size_t n)
{
	for (size_t i = 0; i < n; i++)
		http_metric(out, f[i].metric, f[i].help, f[i].is_counter,
			    f[i].value);
}

void server_facts_metrics(void *arg, struct buf *out)
{
	struct server_facts *f = arg;
	struct figure own[OWN_FIGURES], udp[UDP_FIGURES];

	own_figures(f, own);
	udp_figures(f, udp);
	add_metrics(out, own, OWN_FIGURES);
	add_metrics(out, udp, UDP_FIGURES);
	if (f->plugs->describe_metrics)
		f->plugs->describe_metrics(f->plugs->arg, out);
}

void server_facts_log(struct server_facts *f, struct swarms *swarms,
		      struct web *web)
{
	struct packets_stats p = { 0 };
	struct swarms_stats s;
	struct web_stats w = { 0 };

	swarms_stats(swarms, &s);
	if (f->packets)
		packets_stats(f->packets, &p);
	if (web)
		web_stats(web, &w);
	log_info("statistics uptime_s=%" PRId64 " torrents=%" PRIu64
		 " peers4=%" PRIu64 " peers6=%" PRIu64 " seeders=%" PRIu64
		 " completed=%" PRIu64 " bytes=%zu",
		 (clock_now_ms() - f->start_ms) / 1000, s.torrents, s.peers4,
		 s.peers6, s.seeders, s.completed, s.bytes);
	log_info("statistics udp_connects=%" PRIu64 " udp_announces=%" PRIu64
		 " udp_scrapes=%" PRIu64 " udp_errors=%" PRIu64
		 " http_requests=%" PRIu64 " http_announces=%" PRIu64
		 " http_scrapes=%" PRIu64 " http_open=%u",
		 p.connects, p.announces, p.scrapes, p.errors_out, w.requests,
		 w.announces, w.scrapes, w.open);
}
