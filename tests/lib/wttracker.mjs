// webtorrent's tracker client as a process of its own:
// wttracker.mjs FOLDER URL INFOHASH PORT LEFT
//
// FOLDER holds node_modules/bittorrent-tracker. Announces itself, says what it
// hears as lines of JSON: {"update": {complete, incomplete}}, {"peer": "IP:PORT"},
// {"scrape": {complete, incomplete, downloaded}}, {"error": TEXT}. A line on
// stdin: scrape | complete | stop; stop ends it.
import { createInterface } from 'node:readline'
import { pathToFileURL } from 'node:url'

const [folder, announce, infoHash, port, left] = process.argv.slice(2)
const { default: Client } = await import(
  pathToFileURL(folder + '/node_modules/bittorrent-tracker/index.js'))

let remaining = Number(left)
const say = value => console.log(JSON.stringify(value))
const client = new Client({
  infoHash,
  peerId: Buffer.from('-WW0001-' + process.pid.toString().padStart(12, '0')),
  announce,
  port: Number(port),
  getAnnounceOpts: () => ({ uploaded: 0, downloaded: 0, left: remaining })
})

client.on('update', ({ complete, incomplete }) =>
  say({ update: { complete, incomplete } }))
client.on('peer', peer => say({ peer }))
client.on('scrape', ({ complete, incomplete, downloaded }) =>
  say({ scrape: { complete, incomplete, downloaded } }))
client.on('error', err => say({ error: String(err) }))
client.on('warning', err => say({ error: String(err) }))
client.start()

const commands = {
  scrape: () => client.scrape(),
  complete: () => {
    remaining = 0
    client.complete()
  },
  stop: () => {
    client.stop()
    setTimeout(() => process.exit(0), 500)
  }
}
createInterface({ input: process.stdin }).on('line', line => commands[line]())
