/* engine/base/limits.h: every number that foreign input can reach, with unit
 * and reason. A limit lives here or it does not exist. A table: its columns are
 * kept by hand. */
#pragma once

/* clang-format off */

/* --- metainfo and bencode (sources: libtorrent's defaults, design 5) --- */
#define LIMIT_TORRENT_FILE_BYTES  (80u << 20) /* a .torrent on disk or HTTP */
#define LIMIT_METADATA_BYTES	  (30u << 20) /* an info dict, BEP 9 */
#define LIMIT_BENCODE_DEPTH	  100	      /* containers inside containers */
#define LIMIT_BENCODE_TOKENS	  3000000     /* values in one .torrent */
#define LIMIT_WIRE_BENCODE_TOKENS 2000	      /* values in a peer message */
#define LIMIT_PIECES		  (1u << 21)  /* pieces in a torrent */
#define LIMIT_PIECE_LENGTH	  (512u << 20) /* bytes, v1 and v2 */
#define LIMIT_PIECE_LENGTH_MIN_V2 (16u << 10) /* bytes, BEP 52 */
#define LIMIT_FILE_BYTES	  (((1ull << 30) - 1) << 14) /* about 17.6 TB */
#define LIMIT_TORRENT_BYTES	  (1ull << 48) /* sum of all files */
#define LIMIT_FILES		  (1u << 20)  /* files in a torrent */
#define LIMIT_PATH_DEPTH	  100	      /* directories above a file */
#define LIMIT_NAME_BYTES	  240	      /* a path element; NAME_MAX is 255 */
#define LIMIT_PATH_BYTES	  3800	      /* a whole path; PATH_MAX is 4096 */
#define LIMIT_DUPLICATE_NAMES	  100	      /* files of one name in a torrent */
#define LIMIT_TRACKERS		  256	      /* announce URLs kept per torrent */
#define LIMIT_WEBSEEDS		  64	      /* web seed URLs kept per torrent */
#define LIMIT_URL_BYTES		  2048	      /* a tracker or web seed URL */
#define LIMIT_MAGNET_BYTES	  65536	      /* a magnet link */
#define LIMIT_MAGNET_PEERS	  256	      /* x.pe kept of a link */
#define LIMIT_DHT_NODES		  64	      /* "nodes" kept per torrent, BEP 5 */

/* --- peer wire --- */
#define LIMIT_BLOCK_BYTES	  16384u      /* what we ask for, BEP 3 */
#define LIMIT_BLOCK_SERVE_BYTES	  131072u     /* what others may ask for */
#define LIMIT_MESSAGE_BYTES	  (1u << 20)  /* an extended message */
#define LIMIT_METADATA_MSG_BYTES  (17u << 10) /* one ut_metadata message */
#define LIMIT_EXT_HANDSHAKE_BYTES (64u << 10) /* real ones are below 1 KiB */
#define LIMIT_PEX_BYTES		  (32u << 10) /* BEP 11: 100 peers a message */
#define LIMIT_METADATA_KEPT_BYTES (64u << 20) /* unverified info dicts, all
					       * claims of a torrent together */
#define LIMIT_REQUESTS_IN	  2000	      /* a peer's requests that wait */
#define LIMIT_REQUESTS_OUT	  1000	      /* ours at one peer */
#define LIMIT_REQUESTS_WHILE_CHOKED 300	      /* then the peer is dropped */
#define LIMIT_SEND_QUEUE_BYTES	  (4u << 20)  /* unsent bytes per peer */
#define LIMIT_METADATA_REQUESTS_IN 1024	      /* per peer and connection, or */
#define LIMIT_METADATA_ROUNDS_IN  3	      /* so many times all parts */
#define LIMIT_BLAME_CASES	  64	      /* wrong pieces remembered per torrent */
#define LIMIT_HAVE_RETOLD	  8	      /* bitfields, have-alls and -nones more */
#define LIMIT_EARLY_HAVES	  16384	      /* kept per peer before metadata */
#define LIMIT_CLIENT_NAME_BYTES	  64	      /* "v" of BEP 10 that we keep */

/* --- peers and connections --- */
#define LIMIT_PEER_CANDIDATES	  3000	      /* addresses kept per torrent */
#define LIMIT_PEERS_PER_TORRENT	  100	      /* connections */
#define LIMIT_PEERS		  400	      /* connections of the process */
#define LIMIT_HALF_OPEN		  50	      /* outgoing connects at a time */
#define LIMIT_CONNECTS_PER_SECOND 30	      /* outgoing */
#define LIMIT_HANDSHAKES_IN	  64	      /* unidentified incoming peers */
#define LIMIT_PEERS_PER_ADDRESS	  8	      /* connections from one address */
#define LIMIT_PEER_FAILURES	  3	      /* then a candidate is forgotten */

/* --- trackers and HTTP --- */
#define LIMIT_HTTP_BODY_BYTES	  (1u << 20)  /* a tracker's answer, inflated */
#define LIMIT_HTTP_HEADER_BYTES	  (64u << 10) /* of one request's answers */
#define LIMIT_HTTP_URL_BYTES	  8192	      /* one that we built */
#define LIMIT_HTTP_REDIRECTS	  5
#define LIMIT_HTTP_IN_FLIGHT	  64	      /* requests at a time */
#define LIMIT_TRACKER_PEERS	  2000	      /* peers taken from one answer */
#define LIMIT_TRACKER_TEXT_BYTES  512	      /* failure reason and warning */
#define LIMIT_TRACKER_DEPTH	  8	      /* containers in an answer */
#define LIMIT_TRACKER_TOKENS	  20000	      /* values in one, not compact */
#define LIMIT_TRACKER_ID_BYTES	  256	      /* "tracker id" that we echo */
#define LIMIT_TRACKER_INTERVAL_MIN_S 30	      /* however short it wants */
#define LIMIT_TRACKER_INTERVAL_S  86400	      /* however long it wants */
#define LIMIT_TRACKER_HOSTS	  1024	      /* names and endpoints known */
#define LIMIT_OVERLAYS		  4	      /* domains whose names are keys */
#define LIMIT_UDP_DATAGRAM_BYTES  65536

/* --- the tracker's server (anchors: aquatic, opentracker, torrust) --- */
#define LIMIT_SWARMS_BYTES	  (1ull << 30) /* peers and torrents, default */
#define LIMIT_SWARMS		  10000000    /* torrents, default */
#define LIMIT_SWARM_SHARE	  2	      /* one torrent: max bytes / this */
#define LIMIT_SWARM_GONE_PART	  4	      /* kept for each one who left: so */
#define LIMIT_SWARM_GONE	  4	      /* many who are here, and some more */
#define LIMIT_SWARM_GONE_YOUNG	  1024	      /* of those who left just now */
#define LIMIT_SWARM_EMPTY_MIN	  1440	      /* minutes that a torrent without
					       * peers keeps its counter */
#define LIMIT_SWARM_TTL_MIN	  60	      /* minutes, of a peer: stamps wrap */
#define LIMIT_SUBNETS		  65536	      /* whose rate is known: 512 KiB */
#define LIMIT_UDP_URL_BYTES	  512	      /* URLData of an announce, BEP 41 */
#define LIMIT_UDP_KEY_BYTES	  253	      /* a KEY: no name is longer */
#define LIMIT_UDP_REQUEST_BYTES	  2048	      /* of a datagram; KRPC has 1400 */
#define LIMIT_PACKET_THREADS	  64	      /* for each address */
#define LIMIT_OVERLAY_QUEUE	  512	      /* datagrams on their way to the loop */
#define LIMIT_TELLINGS		  65536	      /* announces to be told on */
#define LIMIT_WEB_HEAD_BYTES	  8192	      /* a request without its body */
#define LIMIT_WEB_HOST_BYTES	  255	      /* a Host; names have 253 */
#define LIMIT_WEB_SCRAPE_HASHES	  256	      /* all that 8 KiB of URL can hold */
#define LIMIT_WEB_PIPELINE_BYTES  16384	      /* answers made before one is sent */
#define LIMIT_WEB_CONNECTIONS	  16384	      /* that wait, all threads */
#define LIMIT_WEB_PER_ADDRESS	  64	      /* of them, of one address or /64,
					       * a thread */
#define LIMIT_WEB_IDLE_MS	  30000	      /* since the last whole request */
#define LIMIT_WEB_LINGER_MS	  2000	      /* for the rest of a refused one */
#define LIMIT_WEB_LINGER_BYTES	  (256u << 10) /* and no more of it */
#define LIMIT_WEB_THREADS	  64
#define LIMIT_WEB_FULL_MS	  300000      /* between two full scrapes of one
					       * address or /64 */
#define LIMIT_WEB_FULL_SOURCES	  1024	      /* remembered for that */
#define LIMIT_WEB_FULL_RUNNING	  4	      /* full scrapes at a time */
#define LIMIT_WEB_FULL_TOTAL_MS	  600000      /* one takes at most */
#define LIMIT_WEB_FULL_SORTED	  131072      /* torrents sorted at a time */
#define LIMIT_LIVESYNC_BYTES	  1480	      /* a datagram: an Ethernet's worth */
#define LIMIT_LIVESYNC_RECORDS	  52	      /* in one: 28 bytes each */
#define LIMIT_LIVESYNC_SOURCES	  64	      /* subnets that are believed */
#define LIMIT_LIVESYNC_PER_S	  1000	      /* datagrams of such a subnet; busy
					       * opentrackers send below 500 */
#define LIMIT_ACCESS_ENTRIES	  10000000u   /* of an allow or deny list */
#define LIMIT_STATEFILE_BLOCK	  (1u << 20)  /* bytes of one block, blobs too */

/* --- replication between trackers --- */
#define LIMIT_SYNC_PACKET_BYTES	  1232u	      /* IPv6's least MTU, less headers */
#define LIMIT_SYNC_PEERS	  256	      /* trackers with a session: a node
					       * shares swarms with few */
#define LIMIT_SYNC_MEMBERS	  1024	      /* of the overlay, looked through */
#define LIMIT_SYNC_WINDOW	  64	      /* packets in flight: bits of an ack */
#define LIMIT_SYNC_QUEUE_BYTES	  (512u << 10) /* records that wait for one peer,
					       * a family: 18,000 of IPv4 */
#define LIMIT_SYNC_CONTROL_BYTES  (512u << 10) /* digests that wait for one */
#define LIMIT_SYNC_JOBS		  16384	      /* swarms to be sent to one peer */
#define LIMIT_SYNC_HELLOS_PER_S	  50	      /* signatures to be checked */
#define LIMIT_SYNC_RECORDS_PER_S  400000      /* from one peer: a hand-off at
					       * 8 MB/s has 285,000 */
#define LIMIT_SYNC_FORWARDS_PER_S 20000	      /* from one that is no owner */
#define LIMIT_SYNC_STOPS_PER_S	  2000	      /* of those: who left */
#define LIMIT_SYNC_VISITS_PER_S	  4000000     /* peers looked at for one */
#define LIMIT_SYNC_HANDOFF_BPS	  8000000     /* to all together, default */
#define LIMIT_SYNC_GROUPS_LOG2	  16	      /* groups of swarms compared */
#define LIMIT_SYNC_BUCKETS_LOG2	  13	      /* parts of one swarm compared */
#define LIMIT_SYNC_COMPLETED	  100000000   /* a counter that is believed */
#define LIMIT_SYNC_PLACES	  65536	      /* swarms with a KEY of their own,
					       * or that live elsewhere */
#define LIMIT_SYNC_SUBSCRIBERS	  8	      /* of one swarm */
#define LIMIT_SYNC_LEFT		  8192	      /* endpoints that left just now */
#define LIMIT_SYNC_WANTED	  32768	      /* swarms that are on their way */

/* --- the overlay's DNS bridge --- */
#define LIMIT_DNS_PLACES	  4096	      /* owners remembered, keys */
#define LIMIT_DNS_WAITING	  1024	      /* questions without an answer */
#define LIMIT_DNS_PORTS		  8	      /* addresses it listens on */
#define LIMIT_DNS_PER_S		  10	      /* equal names of a /24 or /56 */
#define LIMIT_DNS_BURST		  10
#define LIMIT_DNS_TCP_CONNS	  64
#define LIMIT_DNS_TCP_MS	  10000	      /* for each question */
#define LIMIT_DNS_ANSWER_BYTES	  512	      /* over UDP, RFC 1035 */
#define LIMIT_TELLINGS		  65536	      /* announces to be told on */
#define LIMIT_LIVESYNC_BYTES	  1480	      /* a datagram: an Ethernet's worth */
#define LIMIT_LIVESYNC_RECORDS	  52	      /* in one: 28 bytes each */
#define LIMIT_LIVESYNC_SOURCES	  64	      /* subnets that are believed */
#define LIMIT_LIVESYNC_PER_S	  1000	      /* datagrams of such a subnet; busy
					       * opentrackers send below 500 */
#define LIMIT_ACCESS_ENTRIES	  10000000u   /* of an allow or deny list */
#define LIMIT_STATEFILE_BLOCK	  (1u << 20)  /* bytes of one block, blobs too */

/* --- Kademlia core (sources: libtorrent's and jech's constants) --- */
#define LIMIT_KAD_K		  20	      /* an overlay's k at most */
#define LIMIT_KAD_CANDIDATES	  64	      /* unproven senders per table */
#define LIMIT_KAD_CALLS		  1024	      /* queries of ours in flight */
#define LIMIT_KAD_LOOKUPS	  256	      /* at a time, per family */
#define LIMIT_KAD_LOOKUP_LIST	  100	      /* nodes known in one lookup */
#define LIMIT_KAD_MSG_NODES	  32	      /* nodes taken from one answer */
#define LIMIT_KAD_TOKEN_BYTES	  64	      /* a write token that we keep */
#define LIMIT_KAD_LOOKUP_QUERIES	  500	      /* of one lookup: who leads it on */
#define LIMIT_KAD_IN_FLIGHT	  40	      /* queries of one lookup */
#define LIMIT_KAD_TIMEOUT_MS	  2000	      /* the dead cost no more */

/* --- DHT (sources: libtorrent's and jech's constants, BEP 33, 44, 51) --- */
#define LIMIT_DHT_MESSAGE_MIN	  15	      /* bytes: nothing shorter says a thing */
#define LIMIT_DHT_MESSAGE_BYTES	  2048	      /* ours are at most 1400 */
#define LIMIT_DHT_DEPTH		  6	      /* containers in one */
#define LIMIT_DHT_TOKENS	  600	      /* values in one */
#define LIMIT_DHT_TID_BYTES	  20	      /* that we echo */
#define LIMIT_DHT_VALUES	  200	      /* peers taken from one answer */
#define LIMIT_DHT_PEERS_FOUND	  2000	      /* by one lookup */
#define LIMIT_DHT_SAMPLES	  20	      /* hashes told, BEP 51 */
#define LIMIT_DHT_SAMPLES_TAKEN	  60	      /* and taken from one answer */
#define LIMIT_DHT_HASHES	  10000	      /* torrents that we know peers of */
#define LIMIT_DHT_HASHES_PER_NET  200	      /* begun by a /24 or /64, 30 min */
#define LIMIT_DHT_SWARM_PEERS	  500	      /* of one torrent */
#define LIMIT_DHT_PEERS		  100000      /* of all of them */
#define LIMIT_DHT_PEER_MS	  (45 * 60 * 1000) /* then it is forgotten */
#define LIMIT_DHT_ITEMS		  700	      /* of BEP 44 */
#define LIMIT_DHT_ITEMS_PER_NET	  30	      /* begun by a /24 or /64, 30 min */
#define LIMIT_DHT_ITEM_BYTES	  1000	      /* bencoded */
#define LIMIT_DHT_SALT_BYTES	  64
#define LIMIT_DHT_ITEM_MS	  (2 * 60 * 60 * 1000)
#define LIMIT_DHT_TOKEN_MS	  (5 * 60 * 1000) /* new secret; the last holds */
#define LIMIT_DHT_QUERIES_PER_S	  250	      /* of all strangers */
#define LIMIT_DHT_QUERIES_BURST	  1000
#define LIMIT_DHT_ADDRESS_PER_S	  10	      /* of one address or /64 */
#define LIMIT_DHT_ADDRESS_BURST	  50
#define LIMIT_DHT_UPLOAD_BPS	  8000	      /* answers, default */
#define LIMIT_DHT_UPLOAD_BURST_MS 3000
#define LIMIT_DHT_SEARCHES	  16	      /* torrents announced at a time */
#define LIMIT_DHT_BOOTSTRAP	  32	      /* names to start from */
#define LIMIT_KAD_SAVED		  300	      /* nodes kept on disk, a family */

/* --- the overlay of trackers --- */
#define LIMIT_KT_MESSAGE_BYTES	  1232	      /* IPv6's least MTU, no headers */
#define LIMIT_KT_MEMBERS	  1024	      /* proven trackers remembered */
#define LIMIT_KT_KNOWN		  1024	      /* that were, and may come back */
#define LIMIT_KT_COOKIES	  64	      /* tokens of who wants one first */
#define LIMIT_KT_SEARCHES	  128	      /* keys looked up at a time */
#define LIMIT_KT_WAITERS	  1024	      /* who asked for those */
#define LIMIT_KT_CACHE		  512	      /* keys whose owners are remembered */
#define LIMIT_KT_QUERIES_PER_S	  2000	      /* of all strangers, burst 4 s */
#define LIMIT_KT_ADDRESS_PER_S	  20	      /* of one address or /64, burst 10 s */
#define LIMIT_KT_MEMBER_PER_S	  500	      /* of a proven tracker, burst 4 s */
#define LIMIT_KT_ADDRESS_PER_S	  20	      /* of one address or /64, burst 5 s */
#define LIMIT_KT_NET_PER_S	  50	      /* of one /24 or /48, burst 4 s */
#define LIMIT_KT_UPLOAD_BPS	  1000000     /* answers */
#define LIMIT_KT_SIGNS_PER_S	  200	      /* proofs; the first half to anybody */
#define LIMIT_KT_BOOTSTRAP	  32	      /* names to start from */
#define LIMIT_KT_REALM_FILE_BYTES 4096	      /* keys of a closed realm */

/* --- store, state, readers --- */
#define LIMIT_OPEN_FILES	  256	      /* backing files kept open */
#define LIMIT_PARTIAL_BYTES	  (192u << 20) /* piece buffers in use, whole process */
#define LIMIT_PIECE_BUFFER	  (16u << 20) /* larger pieces go to disk by block */
#define LIMIT_WANTS		  65536	      /* reads that wait, whole process */
#define LIMIT_SYNC_BYTES	  (64u << 20) /* verified bytes before a sync */
#define LIMIT_SYNC_MS		  5000	      /* and the time before one */
#define LIMIT_TORRENTS		  10000	      /* in one library */
#define LIMIT_FOLLOWS		  256	      /* mutable torrents, BEP 46 */
#define LIMIT_NOTE_BYTES	  (64u << 10) /* one note of the state */
#define LIMIT_CONTROL_LINE_BYTES  (128u << 10) /* a request to the control socket */
#define LIMIT_CONTROL_CLIENTS	  32
#define LIMIT_INCOMING		  64	      /* files being written to torrents/ */
#define LIMIT_INCOMING_BYTES	  (160u << 20) /* of all of them */
#define LIMIT_SNAPSHOT_BYTES	  (256u << 20) /* status files that are open */
#define LIMIT_PREFETCHES	  64	      /* user.weirfs.prefetch under way */
