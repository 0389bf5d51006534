/* weirctl getitem, putitem: small items in the DHT (BEP 44), and the item that
 * says which torrent a mutable one is (BEP 46). */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dht/item.h"
#include "engine/base/bencode.h"
#include "engine/base/hex.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "fs/follow.h"
#include "tools/command.h"
#include "tools/dht_client.h"

#define SEED_BYTES 32

struct errand {
	struct dht_client client;
	const struct command *command;
	bool is_json, is_raw, is_torrent, has_seq, has_cas, is_found;
	const char *key_file; /* of --key */
	const char *text;     /* the argument */
	int64_t seq, cas;
	bool is_mutable;
	struct follow_link link; /* key and salt */
	struct kad_id target;
	uint8_t seed[SEED_BYTES];
	uint8_t v[LIMIT_DHT_ITEM_BYTES];
	size_t v_len;
	int64_t found_seq; /* -1: none */
	uint8_t sig[64];
};

/* ---- both ---- */

/* What the item is, as far as it is known. */
static struct item item_of(struct errand *it)
{
	struct item item = {
		.v = { it->v, it->v_len },
		.is_mutable = it->is_mutable,
		.seq = it->seq,
		.salt = { it->link.salt, it->link.salt_len },
	};

	memcpy(item.pk, it->link.key, sizeof(item.pk));
	memcpy(item.sig, it->sig, sizeof(item.sig));
	return item;
}

static void set_target(struct errand *it)
{
	struct item item = item_of(it);

	item_target(&item, it->target.b);
}

static int set_salt(struct errand *it, const char *text)
{
	size_t len = strlen(text);

	if (len > LIMIT_DHT_SALT_BYTES)
		return command_usage(it->command, "a salt has at most %d bytes",
				     LIMIT_DHT_SALT_BYTES);
	memcpy(it->link.salt, text, len);
	it->link.salt_len = len;
	return 0;
}

static bool parse_i64(const char *text, int64_t *out)
{
	char *end;

	errno = 0;
	*out = strtoll(text, &end, 10);
	return !errno && *text && !*end;
}

static int parse_line(struct errand *it, int argc, char **argv)
{
	static const struct option longs[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "raw", no_argument, NULL, 'r' },
		{ "torrent", no_argument, NULL, 't' },
		{ "key", required_argument, NULL, 'k' },
		{ "salt", required_argument, NULL, 's' },
		{ "seq", required_argument, NULL, 'q' },
		{ "cas", required_argument, NULL, 'c' },
		{ 0 },
	};
	char why[OPTS_WHY_SIZE];
	int c, code = 0;

	while (!code &&
	       (c = getopt_long(argc, argv, "o:d", longs, NULL)) != -1) {
		switch (c) {
		case 'j':
			it->is_json = true;
			break;
		case 'r':
			it->is_raw = true;
			break;
		case 't':
			it->is_torrent = true;
			break;
		case 'k':
			it->key_file = optarg;
			break;
		case 's':
			code = set_salt(it, optarg);
			break;
		case 'q':
			it->has_seq = parse_i64(optarg, &it->seq);
			if (!it->has_seq || it->seq < 0)
				code = command_usage(it->command,
						     "--seq is a number");
			break;
		case 'c':
			it->has_cas = parse_i64(optarg, &it->cas);
			if (!it->has_cas)
				code = command_usage(it->command,
						     "--cas is a number");
			break;
		case 'd':
			log_set_level(LOG_LEVEL_DEBUG);
			break;
		case 'o':
			if (opts_parse(&it->client.opts, optarg, why) < 0)
				code = command_usage(it->command, "%s", why);
			break;
		default:
			return EXIT_USAGE;
		}
	}
	if (!code && argc - optind != 1)
		code = command_usage(it->command, "give one argument");
	if (!code)
		it->text = argv[optind];
	return code;
}

static int start(struct errand *it, bool (*begin)(struct errand *it))
{
	int code = dht_client_open(&it->client, false);

	if (!code)
		code = begin(it) ? dht_client_run(&it->client) : EXIT_REFUSED;
	return code;
}

/* ---- getitem ---- */

static bool is_plain(struct span s)
{
	for (size_t i = 0; i < s.len; i++) {
		if (!isprint(s.ptr[i]) && s.ptr[i] != '\n')
			return false;
	}
	return true;
}

/* A string as it is, a BEP 46 value as its infohash, else the bencoding. */
static void print_value(struct errand *it)
{
	static const struct bencode_limits limits = { 8, 1000 };
	struct bnode n = { 0 };
	struct span s;
	char *hex;
	size_t len;

	(void)bencode_parse(it->v, it->v_len, &limits, &n, &len, NULL);
	if (it->is_raw) {
		fwrite(it->v, 1, it->v_len, stdout);
		return;
	}
	if (bnode_str(n, &s) && is_plain(s)) {
		printf("%.*s\n", (int)s.len, (const char *)s.ptr);
		return;
	}
	hex = mem_alloc(2 * it->v_len + 1);
	if (bnode_get_str(n, "ih", &s) && s.len == 20)
		printf("urn:btih:%s\n", hex_encode(s.ptr, s.len, hex));
	else
		printf("%s\n", hex_encode(it->v, it->v_len, hex));
	free(hex);
}

static void print_get_json(struct errand *it, const struct dht_result *r)
{
	char target[41], key[65], *v = mem_alloc(2 * it->v_len + 1);
	json_t *o =
		json_pack("{s:s, s:b, s:s, s:I}", "target",
			  hex_encode(it->target.b, 20, target), "mutable",
			  it->is_mutable, "v", hex_encode(it->v, it->v_len, v),
			  "ms", (json_int_t)r->took_ms);

	if (it->is_mutable) {
		json_object_set_new(
			o, "key",
			json_string(hex_encode(it->link.key, 32, key)));
		json_object_set_new(o, "seq", json_integer(it->found_seq));
	}
	json_dumpf(o, stdout, JSON_INDENT(2));
	puts("");
	json_decref(o);
	free(v);
}

static void take_value(void *arg, const struct item *value)
{
	struct errand *it = arg;

	if (value->v.len > sizeof(it->v))
		return;
	it->is_found = true;
	it->v_len = value->v.len;
	memcpy(it->v, value->v.ptr, value->v.len);
	it->found_seq = value->seq;
}

static void on_got(void *arg, const struct dht_result *r)
{
	struct errand *it = arg;

	if (!it->is_found)
		log_error("nothing found: %s", dht_client_excuse(&it->client));
	else if (it->is_json)
		print_get_json(it, r);
	else
		print_value(it);
	dht_client_stop(&it->client, it->is_found ? EXIT_OK : EXIT_REFUSED);
}

static bool look_for(struct errand *it,
		     void (*on_value)(void *arg, const struct item *value),
		     dht_done_fn *done)
{
	struct dht_get_item get = {
		.target = it->target,
		.is_mutable = it->is_mutable,
		.salt = { it->link.salt, it->link.salt_len },
		.on_value = on_value,
		.on_done = done,
		.arg = it,
	};

	memcpy(get.pk, it->link.key, sizeof(get.pk));
	return dht_get_item(it->client.dht, &get);
}

static bool begin_get(struct errand *it)
{
	return look_for(it, take_value, on_got);
}

/* 40 digits: a target. 64, or a link: a key. */
static int parse_what(struct errand *it)
{
	struct follow_link link;
	size_t n = strlen(it->text);

	if (n == 40 && hex_decode(it->text, n, it->target.b, 20))
		return 0;
	it->is_mutable = true;
	if (follow_parse(it->text, &link)) {
		if (!it->link.salt_len) {
			memcpy(it->link.salt, link.salt, link.salt_len);
			it->link.salt_len = link.salt_len;
		}
		memcpy(it->link.key, link.key, sizeof(link.key));
	} else if (n != 64 || !hex_decode(it->text, n, it->link.key, 32)) {
		return command_usage(it->command,
				     "\"%s\" is neither 40 hex digits (a "
				     "target) nor 64 (a key)",
				     it->text);
	}
	set_target(it);
	return 0;
}

static int run_get(int argc, char **argv)
{
	struct errand it = { .command = &cmd_getitem, .found_seq = -1 };
	int code;

	dht_client_init(&it.client);
	code = parse_line(&it, argc, argv);
	if (!code)
		code = parse_what(&it);
	if (!code)
		code = start(&it, begin_get);
	dht_client_close(&it.client);
	return code;
}

/* ---- putitem ---- */

/* What is to be put, signed; sets the public key too. */
static bool sign(struct errand *it)
{
	struct item item = item_of(it);

	if (!item_sign(&item, it->seed))
		return false;
	memcpy(it->link.key, item.pk, sizeof(item.pk));
	memcpy(it->sig, item.sig, sizeof(item.sig));
	set_target(it);
	return true;
}

/* The seed of an ed25519 key, 64 hex digits; made when there is none. */
static int read_key(struct errand *it)
{
	char text[2 * SEED_BYTES + 2] = "";
	ssize_t n;
	int fd = open(it->key_file, O_RDONLY | O_CLOEXEC);
	int r = 0;

	if (fd >= 0) {
		n = read(fd, text, sizeof(text) - 1);
		if (n < 2 * SEED_BYTES ||
		    !hex_decode(text, 2 * SEED_BYTES, it->seed, SEED_BYTES))
			r = -EBADMSG;
	} else if (errno != ENOENT) {
		r = -errno;
	} else {
		fd = open(it->key_file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
			  0600);
		if (fd < 0 || getentropy(it->seed, sizeof(it->seed)) < 0)
			r = -errno;
		hex_encode(it->seed, sizeof(it->seed), text);
		text[2 * SEED_BYTES] = '\n';
		if (!r &&
		    write(fd, text, 2 * SEED_BYTES + 1) != 2 * SEED_BYTES + 1)
			r = -EIO;
	}
	if (fd >= 0)
		close(fd);
	if (r == -EBADMSG)
		log_error("%s: not a key (64 hex digits)", it->key_file);
	else if (r)
		log_error("%s: %s", it->key_file, strerror(-r));
	if (!r && !sign(it)) {
		log_error("no ed25519 in this OpenSSL");
		r = -ENOTSUP;
	}
	return r ? EXIT_REFUSED : 0;
}

/* The argument as a value. */
static int make_value(struct errand *it)
{
	static const struct bencode_limits limits = { 8, 1000 };
	struct bnode n;
	uint8_t ih[20];
	size_t len = 0;
	struct buf b;
	bool ok = true;

	buf_init(&b, 0);
	if (it->is_torrent) {
		const char *hex = it->text;

		if (!strncasecmp(hex, "urn:btih:", 9))
			hex += 9;
		ok = strlen(hex) == 40 && hex_decode(hex, 40, ih, sizeof(ih));
		benc_dict(&b);
		benc_cstr(&b, "ih");
		benc_str(&b, ih, sizeof(ih));
		benc_end(&b);
	} else if (it->is_raw) {
		buf_add(&b, it->text, strlen(it->text));
		ok = !bencode_parse(b.ptr, b.len, &limits, &n, &len, NULL) &&
		     len == b.len;
	} else {
		benc_cstr(&b, it->text);
	}
	if (ok && b.len <= sizeof(it->v)) {
		memcpy(it->v, b.ptr, b.len);
		it->v_len = b.len;
	}
	buf_release(&b);
	if (!ok)
		return command_usage(it->command, "\"%s\" is no %s", it->text,
				     it->is_torrent ? "infohash" : "bencoding");
	if (!it->v_len)
		return command_usage(it->command,
				     "a value has at most %d bytes bencoded",
				     LIMIT_DHT_ITEM_BYTES);
	return 0;
}

static void print_put(struct errand *it, const struct dht_result *r)
{
	char target[41], key[65], link[FOLLOW_LINK_MAX];

	hex_encode(it->target.b, 20, target);
	hex_encode(it->link.key, 32, key);
	if (it->is_json) {
		json_t *o = json_pack("{s:s, s:b, s:i, s:I}", "target", target,
				      "mutable", it->is_mutable, "nodes",
				      (int)r->num_stored, "ms",
				      (json_int_t)r->took_ms);

		if (it->is_mutable) {
			json_object_set_new(o, "key", json_string(key));
			json_object_set_new(o, "seq", json_integer(it->seq));
			json_object_set_new(
				o, "link",
				json_string(follow_format(&it->link, link)));
		}
		json_dumpf(o, stdout, JSON_INDENT(2));
		puts("");
		json_decref(o);
		return;
	}
	printf("target  %s\n", target);
	if (it->is_mutable)
		printf("key     %s\nseq     %" PRId64 "\nlink    %s\n", key,
		       it->seq, follow_format(&it->link, link));
	fflush(stdout);
	fprintf(stderr, "%u nodes keep it for about two hours\n",
		r->num_stored);
}

static void on_stored(void *arg, const struct dht_result *r)
{
	struct errand *it = arg;

	if (r->num_stored)
		print_put(it, r);
	else
		log_error("nobody took it: %s",
			  r->answers ? "a newer one is there, or --cas does "
				       "not match"
				     : dht_client_excuse(&it->client));
	dht_client_stop(&it->client, r->num_stored ? EXIT_OK : EXIT_REFUSED);
}

static bool put(struct errand *it)
{
	struct dht_put_item spec = {
		.value = item_of(it),
		.has_cas = it->has_cas,
		.cas = it->cas,
		.on_done = on_stored,
		.arg = it,
	};

	return dht_put_item(it->client.dht, &spec);
}

static void note_seq(void *arg, const struct item *value)
{
	struct errand *it = arg;

	if (value->seq > it->found_seq)
		it->found_seq = value->seq;
}

/* The next version of what is there, or the first one. */
static void on_looked(void *arg, const struct dht_result *r)
{
	struct errand *it = arg;

	it->seq = it->found_seq + 1;
	if (!sign(it) || !put(it)) {
		log_error("cannot put it");
		dht_client_stop(&it->client, EXIT_REFUSED);
	}
}

static bool begin_put(struct errand *it)
{
	if (!it->is_mutable || it->has_seq)
		return put(it);
	return look_for(it, note_seq, on_looked);
}

static int prepare_put(struct errand *it)
{
	int code = make_value(it);

	it->is_mutable = it->key_file != NULL;
	if (!code && !it->is_mutable &&
	    (it->has_seq || it->has_cas || it->link.salt_len || it->is_torrent))
		code = command_usage(it->command,
				     "--seq, --cas, --salt and --torrent need "
				     "--key FILE");
	if (!code && it->is_mutable)
		return read_key(it);
	set_target(it);
	return code;
}

static int run_put(int argc, char **argv)
{
	struct errand it = { .command = &cmd_putitem, .found_seq = -1 };
	int code;

	dht_client_init(&it.client);
	code = parse_line(&it, argc, argv);
	if (!code)
		code = prepare_put(&it);
	if (!code)
		code = start(&it, begin_put);
	OPENSSL_cleanse(it.seed, sizeof(it.seed));
	dht_client_close(&it.client);
	return code;
}

const struct command cmd_getitem = {
	.name = "getitem",
	.synopsis =
		"TARGET|KEY|LINK [--salt TEXT] [--raw] [--json] [-o OPT,...]",
	.summary = "Get a small item out of the DHT",
	.options =
		"  TARGET       40 hex digits: an item that never changes\n"
		"  KEY, LINK    64 hex digits or urn:btpk:KEY: the newest item "
		"of that key\n"
		"  --salt TEXT  which of the key's items\n"
		"  --raw        print the bencoding as it is\n"
		"  --json       print all that is known of it, v in hex\n"
		"Exit status 0: found, and its hash or signature is right.\n",
	.has_o = true,
	.run = run_get,
};

const struct command cmd_putitem = {
	.name = "putitem",
	.synopsis = "VALUE [--key FILE [--salt TEXT] [--seq N] [--cas N] "
		    "[--torrent]] [--raw] [--json] [-o OPT,...]",
	.summary = "Put a small item into the DHT",
	.options =
		"  VALUE        text of at most 996 bytes\n"
		"  --key FILE   an item that can change, signed with the key in "
		"FILE; it is\n"
		"               made when it is not there: keep it, and keep it "
		"secret\n"
		"  --salt TEXT  one of several items of the key\n"
		"  --seq N      its version (default: one more than is there)\n"
		"  --cas N      only if version N is there now\n"
		"  --torrent    VALUE is an infohash: what urn:btpk:KEY means "
		"from now on\n"
		"  --raw        VALUE is bencoding\n"
		"  --json       print what came of it\n"
		"Nodes keep an item for about two hours: put it again before "
		"that.\n",
	.has_o = true,
	.run = run_put,
};
