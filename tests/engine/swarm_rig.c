#include "tests/engine/swarm_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/bencode.h"
#include "engine/base/check.h"
#include "engine/base/mem.h"
#include "engine/base/random.h"
#include "engine/base/sha.h"

struct addr rig_local(uint8_t last, uint16_t port)
{
	unsigned pid = (unsigned)getpid();

	return (struct addr){ .family = 4,
			      .ip = { 127, (uint8_t)(1 + pid / 250 % 250),
				      (uint8_t)(pid % 250), last },
			      .port = port };
}

void rig_start(struct rig *r)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(r->dir, sizeof(r->dir), "%.40s/weirfs-XXXXXX",
		 tmp ? tmp : "/tmp");
	CHECK(mkdtemp(r->dir));
	r->is_by_hash = false;
	rig_open(r);
}

void rig_open(struct rig *r)
{
	r->loop = loop_new();
	r->workers = workers_new(r->loop);
	CHECK(r->loop && r->workers);
}

void rig_close(struct rig *r)
{
	workers_free(r->workers);
	loop_free(r->loop);
}

void rig_end(struct rig *r)
{
	char *cmd = mem_printf("rm -rf '%s'", r->dir);

	rig_close(r);
	CHECK(!system(cmd));
	free(cmd);
}

static FILE *open_in(struct rig *r, const char *folder, const char *name,
		     const char *mode)
{
	char *dir = mem_printf("%s/%s", r->dir, folder);
	char *path = mem_printf("%s/%s", dir, name);
	FILE *f;

	if (*mode == 'w')
		mkdir(dir, 0755);
	f = fopen(path, mode);
	free(path);
	free(dir);
	return f;
}

void rig_make_file(struct rig *r, const char *folder, const char *name,
		   uint64_t len, uint64_t seed)
{
	FILE *f = open_in(r, folder, name, "w");
	struct prng prng = { seed };

	CHECK(f);
	while (len) {
		uint64_t word = prng_u64(&prng);
		size_t n = len < sizeof(word) ? (size_t)len : sizeof(word);

		CHECK(fwrite(&word, n, 1, f) == 1);
		len -= n;
	}
	fclose(f);
}

struct metainfo *rig_metainfo(struct rig *r, const char *folder,
			      const char *name, uint32_t piece_length)
{
	FILE *f = open_in(r, folder, name, "r");
	uint8_t *piece = mem_alloc(piece_length), hash[SHA1_LEN];
	char why[METAINFO_WHY_SIZE];
	struct buf hashes, out;
	struct metainfo *mi;
	uint64_t total = 0;
	size_t n;

	CHECK(f);
	buf_init(&hashes, 0);
	buf_init(&out, 0);
	while ((n = fread(piece, 1, piece_length, f)) > 0) {
		sha1(piece, n, hash);
		buf_add(&hashes, hash, sizeof(hash));
		total += n;
	}
	fclose(f);
	benc_dict(&out);
	benc_cstr(&out, "info");
	benc_dict(&out);
	benc_cstr(&out, "length");
	benc_int(&out, (int64_t)total);
	benc_cstr(&out, "name");
	benc_cstr(&out, name);
	benc_cstr(&out, "piece length");
	benc_int(&out, piece_length);
	benc_cstr(&out, "pieces");
	benc_str(&out, hashes.ptr, hashes.len);
	benc_end(&out);
	benc_end(&out);
	CHECK(!metainfo_parse(out.ptr, out.len, &mi, why));
	buf_release(&hashes);
	buf_release(&out);
	free(piece);
	return mi;
}

static void on_complete(void *arg, struct torrent *t)
{
	((struct node *)arg)->is_complete = true;
}

void node_start(struct node *n, struct rig *r, const char *folder,
		bool is_read_only, enum fill_policy fill, bool has_state)
{
	static const struct engine_events events = { .on_complete =
							     on_complete };
	struct engine_config c = {
		.is_flat = !r->is_by_hash,
		.is_read_only = is_read_only,
		.fill = fill,
		.read_timeout_ms = 5000,
	};
	char why[STATE_WHY_SIZE], *dir;
	uint16_t port = 20000;
	int r_new;

	memset(n, 0, sizeof(*n));
	n->rig = r;
	c.bind4 = rig_local(1, 0);
	c.data_dir = n->data_dir = mem_printf("%s/%s", r->dir, folder);
	if (has_state) {
		dir = mem_printf("%s/%s.state", r->dir, folder);
		CHECK(!state_open(dir, r->workers, &n->state, why));
		free(dir);
	}
	do {
		c.port = port++;
		r_new = engine_new(r->loop, r->workers, n->state, &c, &events,
				   n, &n->engine, why);
	} while (r_new == -EADDRINUSE && port < 21000);
	CHECK(!r_new);
	if (n->state)
		CHECK(!engine_load(n->engine));
	n->torrent = engine_first(n->engine);
}

void node_add(struct node *n, struct metainfo *mi)
{
	CHECK(!engine_add_metainfo(n->engine, mi, &n->torrent, NULL, NULL));
}

void node_connect(struct node *n, struct node *to)
{
	struct addr a;

	a = rig_local(1, engine_port(to->engine));
	torrent_add_peer(n->torrent, &a, ORIGIN_USER);
}

void node_on_stopped(void *arg)
{
	((struct node *)arg)->has_stopped = true;
}

void node_stop(struct node *n)
{
	engine_stop(n->engine, node_on_stopped, n);
	CHECK(rig_until(n->rig, &n->has_stopped, 10000));
	node_end(n);
}

void node_end(struct node *n)
{
	engine_free(n->engine);
	free(n->data_dir);
	if (n->state)
		state_close(n->state);
}

bool rig_until(struct rig *r, const bool *flag, int ms)
{
	int64_t end = loop_now_ms(r->loop) + ms;

	while (!*flag && loop_now_ms(r->loop) < end)
		loop_run_once(r->loop, 100);
	return *flag;
}

bool rig_same(struct rig *r, const char *folder_a, const char *folder_b,
	      const char *name)
{
	char *cmd = mem_printf("cmp '%s/%s/%s' '%s/%s/%s'", r->dir, folder_a,
			       name, r->dir, folder_b, name);
	int status = system(cmd);

	free(cmd);
	return !status;
}
