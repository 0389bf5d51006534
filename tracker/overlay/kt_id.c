#include "tracker/overlay/kt_id.h"

#include <errno.h>
#include <stdio.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "engine/base/check.h"
#include "engine/base/cursor.h"
#include "engine/base/hex.h"
#include "engine/base/mem.h"
#include "engine/base/sha.h"

#define CERT_LABEL  "weirfs tracker certificate"
#define PROOF_LABEL "weirfs tracker proof"
#define SIGNED_MAX  128

/* --- keys --- */

void kt_key_init(struct kt_key *key, const uint8_t seed[KT_SEED_BYTES])
{
	size_t len = sizeof(key->pk);
	EVP_PKEY *p = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed,
						   KT_SEED_BYTES);

	/* Any 32 bytes are a seed; OpenSSL fails without memory only. */
	CHECK(p && EVP_PKEY_get_raw_public_key(p, key->pk, &len) == 1);
	memcpy(key->seed, seed, KT_SEED_BYTES);
	key->pkey = p;
}

void kt_key_release(struct kt_key *key)
{
	EVP_PKEY_free(key->pkey);
	OPENSSL_cleanse(key, sizeof(*key));
}

void kt_key_sign(const struct kt_key *key, const void *msg, size_t len,
		 uint8_t sig[KT_SIG_BYTES])
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	size_t sig_len = KT_SIG_BYTES;

	CHECK(ctx &&
	      EVP_DigestSignInit(ctx, NULL, NULL, NULL, key->pkey) == 1 &&
	      EVP_DigestSign(ctx, sig, &sig_len, msg, len) == 1);
	EVP_MD_CTX_free(ctx);
}

bool kt_key_verify(const uint8_t pk[KT_PK_BYTES], const void *msg, size_t len,
		   const uint8_t sig[KT_SIG_BYTES])
{
	EVP_PKEY *p = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, pk,
						  KT_PK_BYTES);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool ok = p && ctx &&
		  EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, p) == 1 &&
		  EVP_DigestVerify(ctx, sig, KT_SIG_BYTES, msg, len) == 1;

	EVP_MD_CTX_free(ctx);
	EVP_PKEY_free(p);
	return ok;
}

/* --- ids --- */

static void prefix_of(const uint8_t realm[KT_REALM_BYTES],
		      const struct addr *at, uint8_t r,
		      uint8_t out[KT_PREFIX_BYTES])
{
	size_t net = at->family == 4 ? 3 : 6;
	uint8_t b[KT_REALM_BYTES + 6 + 1], hash[SHA256_LEN];

	memcpy(b, realm, KT_REALM_BYTES);
	memcpy(b + KT_REALM_BYTES, at->ip, net);
	b[KT_REALM_BYTES + net] = r;
	sha256(b, KT_REALM_BYTES + net + 1, hash);
	memcpy(out, hash, KT_PREFIX_BYTES);
}

void kt_id_make(const uint8_t realm[KT_REALM_BYTES],
		const uint8_t pk[KT_PK_BYTES], const struct addr *at,
		struct kad_id *out)
{
	sha1(pk, KT_PK_BYTES, out->b);
	if (at && at->family && !addr_is_local(at))
		prefix_of(realm, at, out->b[0] & 1, out->b);
}

bool kt_id_fits_net(const uint8_t realm[KT_REALM_BYTES],
		    const struct kad_id *id, const struct addr *at)
{
	uint8_t prefix[KT_PREFIX_BYTES];

	for (uint8_t r = 0; r < 2; r++) {
		prefix_of(realm, at, r, prefix);
		if (!memcmp(prefix, id->b, KT_PREFIX_BYTES))
			return true;
	}
	return false;
}

bool kt_id_fits_key(const struct kad_id *id, const uint8_t pk[KT_PK_BYTES])
{
	uint8_t hash[SHA1_LEN];

	sha1(pk, KT_PK_BYTES, hash);
	return !memcmp(hash + KT_PREFIX_BYTES, id->b + KT_PREFIX_BYTES,
		       KAD_ID_BYTES - KT_PREFIX_BYTES);
}

/* --- proofs --- */

static size_t proof_bytes(const uint8_t realm[KT_REALM_BYTES],
			  const uint8_t challenge[8], const struct kad_id *id,
			  const struct addr *at, uint8_t out[SIGNED_MAX])
{
	struct wcursor c = wcursor_of(out, SIGNED_MAX);

	wcursor_copy(&c, PROOF_LABEL, sizeof(PROOF_LABEL) - 1);
	wcursor_copy(&c, realm, KT_REALM_BYTES);
	wcursor_copy(&c, challenge, 8);
	wcursor_copy(&c, id->b, KAD_ID_BYTES);
	wcursor_u8(&c, at->family);
	wcursor_copy(&c, at->ip, sizeof(at->ip));
	wcursor_be16(&c, at->port);
	CHECK(!c.is_bad);
	return wcursor_len(&c);
}

void kt_proof_make(const struct kt_key *key,
		   const uint8_t realm[KT_REALM_BYTES],
		   const uint8_t challenge[8], const struct kad_id *id,
		   const struct addr *at, uint8_t sig[KT_SIG_BYTES])
{
	uint8_t b[SIGNED_MAX];

	kt_key_sign(key, b, proof_bytes(realm, challenge, id, at, b), sig);
}

bool kt_proof_check(const uint8_t pk[KT_PK_BYTES],
		    const uint8_t realm[KT_REALM_BYTES],
		    const uint8_t challenge[8], const struct kad_id *id,
		    const struct addr *at, const uint8_t sig[KT_SIG_BYTES])
{
	uint8_t b[SIGNED_MAX];

	return kt_id_fits_key(id, pk) &&
	       kt_key_verify(pk, b, proof_bytes(realm, challenge, id, at, b),
			     sig);
}

/* --- certificates --- */

static size_t cert_bytes(const uint8_t realm[KT_REALM_BYTES],
			 const uint8_t pk[KT_PK_BYTES], const uint8_t expiry[8],
			 uint8_t out[SIGNED_MAX])
{
	struct wcursor c = wcursor_of(out, SIGNED_MAX);

	wcursor_copy(&c, CERT_LABEL, sizeof(CERT_LABEL) - 1);
	wcursor_copy(&c, realm, KT_REALM_BYTES);
	wcursor_copy(&c, pk, KT_PK_BYTES);
	wcursor_copy(&c, expiry, 8);
	CHECK(!c.is_bad);
	return wcursor_len(&c);
}

void kt_cert_make(const struct kt_key *realm_key,
		  const uint8_t realm[KT_REALM_BYTES],
		  const uint8_t pk[KT_PK_BYTES], int64_t expiry_s,
		  uint8_t out[KT_CERT_BYTES])
{
	uint8_t b[SIGNED_MAX];

	store_be64(out, (uint64_t)expiry_s);
	kt_key_sign(realm_key, b, cert_bytes(realm, pk, out, b), out + 8);
}

bool kt_cert_check(const uint8_t realm_pk[KT_PK_BYTES],
		   const uint8_t realm[KT_REALM_BYTES],
		   const uint8_t pk[KT_PK_BYTES], struct span cert,
		   int64_t wall_s, int64_t *expiry_s)
{
	uint8_t b[SIGNED_MAX];

	if (cert.len != KT_CERT_BYTES)
		return false;
	*expiry_s = (int64_t)load_be64(cert.ptr);
	return *expiry_s > wall_s &&
	       kt_key_verify(realm_pk, b, cert_bytes(realm, pk, cert.ptr, b),
			     cert.ptr + 8);
}

/* --- the file of a realm --- */

struct field {
	const char *name;
	uint8_t *out;
	size_t len;
	bool *has;
};

/* "name HEX". False: some other line. */
static bool take_field(const struct field *f, const char *line, size_t len,
		       bool *is_good)
{
	size_t name = strlen(f->name);

	if (len <= name || memcmp(line, f->name, name) != 0 ||
	    (line[name] != ' ' && line[name] != '\t'))
		return false;
	line += name;
	len -= name;
	while (len && (*line == ' ' || *line == '\t')) {
		line++;
		len--;
	}
	*is_good = !*f->has && hex_decode(line, len, f->out, f->len);
	*f->has = true;
	return true;
}

static bool take_line(const struct field *fields, size_t n, const char *line,
		      size_t len)
{
	bool is_good = false;

	while (len && (line[len - 1] == '\r' || line[len - 1] == ' '))
		len--;
	if (!len || line[0] == '#')
		return true;
	for (size_t i = 0; i < n; i++) {
		if (take_field(&fields[i], line, len, &is_good))
			return is_good;
	}
	return false;
}

int kt_realm_file_parse(const char *text, size_t len, struct kt_realm_file *out,
			char *why, size_t why_size)
{
	bool has_pk = false;
	const struct field fields[] = {
		{ "realm-public", out->pk, sizeof(out->pk), &has_pk },
		{ "realm-secret", out->secret, sizeof(out->secret),
		  &out->has_secret },
		{ "certificate", out->cert, sizeof(out->cert), &out->has_cert },
	};
	const char *at = text, *end = len ? text + len : text;
	struct kt_key key;
	unsigned number = 1;
	bool is_pair;

	memset(out, 0, sizeof(*out));
	for (; at < end; number++) {
		const char *stop = memchr(at, '\n', (size_t)(end - at));
		size_t line = (size_t)((stop ? stop : end) - at);

		if (!take_line(fields, ARRAY_LEN(fields), at, line)) {
			snprintf(why, why_size, "line %u means nothing",
				 number);
			return -EBADMSG;
		}
		at += line + (stop != NULL);
	}
	if (!has_pk) {
		snprintf(why, why_size, "no line realm-public");
		return -EBADMSG;
	}
	if (!out->has_secret)
		return 0;
	kt_key_init(&key, out->secret);
	is_pair = !memcmp(key.pk, out->pk, sizeof(key.pk));
	kt_key_release(&key);
	if (is_pair)
		return 0;
	snprintf(why, why_size, "realm-secret does not belong to realm-public");
	return -EBADMSG;
}

void kt_realm_file_make(const uint8_t seed[KT_SEED_BYTES], struct buf *out)
{
	struct kt_key key;
	char pk[2 * KT_PK_BYTES + 1], secret[2 * KT_SEED_BYTES + 1];

	kt_key_init(&key, seed);
	buf_printf(out, "realm-public %s\nrealm-secret %s\n",
		   hex_encode(key.pk, sizeof(key.pk), pk),
		   hex_encode(seed, KT_SEED_BYTES, secret));
	kt_key_release(&key);
	OPENSSL_cleanse(secret, sizeof(secret));
}

void kt_realm_file_certify(const struct kt_realm_file *realm_file,
			   const char *domain, const uint8_t pk[KT_PK_BYTES],
			   int64_t expiry_s, struct buf *out)
{
	uint8_t realm[KT_REALM_BYTES], cert[KT_CERT_BYTES];
	char hex_pk[2 * KT_PK_BYTES + 1], hex_cert[2 * KT_CERT_BYTES + 1];
	struct kt_key key;

	kt_realm(domain, realm);
	kt_key_init(&key, realm_file->secret);
	kt_cert_make(&key, realm, pk, expiry_s, cert);
	buf_printf(out, "realm-public %s\ncertificate %s\n",
		   hex_encode(key.pk, sizeof(key.pk), hex_pk),
		   hex_encode(cert, sizeof(cert), hex_cert));
	kt_key_release(&key);
}

int kt_realm_file_check(const struct kt_realm_file *realm_file,
			const char *domain, const uint8_t pk[KT_PK_BYTES],
			int64_t wall_s, char *why, size_t why_size)
{
	const struct span cert = { realm_file->cert, KT_CERT_BYTES };
	uint8_t realm[KT_REALM_BYTES];
	char hex[2 * KT_PK_BYTES + 1];
	int64_t expiry_s = 0;

	if (realm_file->has_secret)
		return 0;
	kt_realm(domain, realm);
	hex_encode(pk, KT_PK_BYTES, hex);
	if (!realm_file->has_cert)
		snprintf(why, why_size,
			 "no certificate is in it; this tracker needs one for "
			 "its key: --certify %s",
			 hex);
	else if (kt_cert_check(realm_file->pk, realm, pk, cert, wall_s,
			       &expiry_s))
		return 0;
	else if (kt_cert_check(realm_file->pk, realm, pk, cert, INT64_MIN,
			       &expiry_s))
		snprintf(why, why_size,
			 "the certificate has expired; make a new one: "
			 "--certify %s",
			 hex);
	else
		snprintf(why, why_size,
			 "the certificate is of another tracker, domain or "
			 "key; this tracker in %s needs: --certify %s",
			 domain, hex);
	return -EACCES;
}
