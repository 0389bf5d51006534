// webtorrent's DHT node as a process of its own: wtdht.mjs FOLDER PORT HOST:PORT
//
// FOLDER holds node_modules/bittorrent-dht. Says "ready" when it knows a node;
// then takes commands, a line each, and answers each with a line of JSON:
//   lookup INFOHASH | announce INFOHASH PORT | put TEXT | get TARGET
//   mput SEED SALT TEXT SEQ (answers the public key) | mget KEY SALT
import { createPrivateKey, createPublicKey, createHash, sign, verify }
  from 'node:crypto'
import { createInterface } from 'node:readline'
import { pathToFileURL } from 'node:url'

const [folder, port, bootstrap] = process.argv.slice(2)
const { Client } = await import(
  pathToFileURL(folder + '/node_modules/bittorrent-dht/index.js'))

// Node wants DER around the raw 32 bytes of ed25519.
const secretOf = seed => createPrivateKey({
  key: Buffer.from('302e020100300506032b657004220420' + seed, 'hex'),
  format: 'der',
  type: 'pkcs8'
})
const publicOf = raw => createPublicKey({
  key: Buffer.concat([Buffer.from('302a300506032b6570032100', 'hex'), raw]),
  format: 'der',
  type: 'spki'
})

const dht = new Client({
  bootstrap: [bootstrap],
  timeBucketOutdated: 60000,
  verify: (sig, bytes, key) => verify(null, bytes, publicOf(key), sig)
})
const say = value => console.log(JSON.stringify(value))

const commands = {
  lookup (infohash) {
    const peers = []
    const found = (peer) => peers.push(peer.host + ':' + peer.port)
    dht.on('peer', found)
    dht.lookup(infohash, () => {
      dht.removeListener('peer', found)
      say(peers)
    })
  },
  announce (infohash, at) {
    dht.announce(infohash, Number(at), err => say(err ? String(err) : 'ok'))
  },
  put (text) {
    dht.put({ v: Buffer.from(text) },
      (err, hash) => say(err ? String(err) : hash.toString('hex')))
  },
  mput (seed, salt, text, seq) {
    const secret = secretOf(seed)
    const k = createPublicKey(secret).export({ format: 'der', type: 'spki' })
      .subarray(-32)
    dht.put({
      k,
      ...(salt && { salt: Buffer.from(salt) }),
      seq: Number(seq),
      v: text.startsWith('ih:')
        ? { ih: Buffer.from(text.slice(3), 'hex') }
        : Buffer.from(text),
      sign: bytes => sign(null, bytes, secret)
    }, err => say(err ? String(err) : k.toString('hex')))
  },
  mget (key, salt) {
    const target = createHash('sha1')
      .update(Buffer.from(key, 'hex')).update(salt).digest()
    dht.get(target, { salt: Buffer.from(salt), cache: false },
      (err, item) => say(err || !item ? null
        : [item.v.toString(), item.seq]))
  },
  get (target) {
    dht.get(Buffer.from(target, 'hex'),
      (err, item) => say(err || !item ? null : item.v.toString()))
  }
}

dht.listen(Number(port), () => dht.on('ready', () => say('ready')))
dht.on('error', err => say({ error: String(err) }))
createInterface({ input: process.stdin }).on('line', line => {
  const [verb, ...rest] = line.split(' ')
  commands[verb](...rest)
})
