// The driver of kafkajs: JSON lines on standard input and output, as package bench/clients
// describes them. It consumes only in groups, so it has join and poll, and no consume.
const readline = require('readline')
const {
  CompressionCodecs, CompressionTypes, ConfigResourceTypes, Kafka, Partitioners, logLevel,
} = require('kafkajs')

// kafkajs has gzip; the other codecs are packages that it is given.
const lz4 = require('lz4-napi')
CompressionCodecs[CompressionTypes.Snappy] = require('kafkajs-snappy')
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: (encoder) => lz4.compressFrame(encoder.buffer),
  decompress: (buffer) => lz4.decompressFrame(buffer),
})
const zstd = new Promise((resolve) => require('zstd-codec').ZstdCodec.run((z) => resolve(new z.Simple())))
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async (encoder) => Buffer.from((await zstd).compress(encoder.buffer)),
  decompress: async (buffer) => Buffer.from((await zstd).decompress(buffer)),
})

const codecs = {
  none: CompressionTypes.None,
  gzip: CompressionTypes.GZIP,
  snappy: CompressionTypes.Snappy,
  lz4: CompressionTypes.LZ4,
  zstd: CompressionTypes.ZSTD,
}

const kafka = new Kafka({
  clientId: 'kafkajs', brokers: process.argv[2].split(','), logLevel: logLevel.NOTHING,
  retry: { maxRetryTime: 1000, retries: 10 }, // or it lets half a minute pass when a broker has died
})
const bytes = (text) => (text === null || text === undefined ? null : Buffer.from(text, 'base64'))

const operations = {
  async produce(request) {
    const producer = kafka.producer({
      createPartitioner: Partitioners.DefaultPartitioner,
      idempotent: request.idempotent === true,
      maxInFlightRequests: 1,
    })
    await producer.connect()
    try {
      await producer.send({
        topic: request.topic,
        acks: { 0: 0, 1: 1, all: -1 }[request.acks],
        compression: codecs[request.codec],
        messages: request.records.map((r) => ({
          partition: r.partition,
          key: bytes(r.key),
          value: bytes(r.value),
          timestamp: String(r.timestamp),
          headers: headersOf(r.headers ?? []),
        })),
      })
    } finally {
      await producer.disconnect()
    }
  },

  create: (request) => administer((admin) => admin.createTopics({
    topics: [{
      topic: request.topic,
      numPartitions: request.partitions,
      replicationFactor: 1,
      configEntries: entriesOf(request.configs),
    }],
  })).then((created) => { if (!created) throw new Error('the topic exists') }),

  describe: (request) => administer(async (admin) => {
    const { topics } = await admin.fetchTopicMetadata({ topics: [request.topic] })
    const { resources } = await admin.describeConfigs({
      resources: [{ type: ConfigResourceTypes.TOPIC, name: request.topic }],
    })
    const configs = resources[0].configEntries.map((c) => [c.configName, c.configValue])
    return { partitions: topics[0].partitions.length, configs: Object.fromEntries(configs) }
  }),

  alter: (request) => administer((admin) => admin.alterConfigs({
    resources: [{ type: ConfigResourceTypes.TOPIC, name: request.topic, configEntries: entriesOf(request.configs) }],
  })).then(() => {}),

  grow: (request) => administer((admin) => admin.createPartitions({
    topicPartitions: [{ topic: request.topic, count: request.partitions }],
  })).then(() => {}),

  delete: (request) => administer((admin) => admin.deleteTopics({ topics: [request.topic] })),

  async join(request) {
    member = kafka.consumer({
      groupId: request.group, sessionTimeout: 6000, heartbeatInterval: 500, rebalanceTimeout: 20000, maxWaitTimeInMs: 100,
    })
    await member.connect()
    await member.subscribe({ topics: [request.topic], fromBeginning: true })
    member.run({ // which returns only when the group has come together
      autoCommit: false,
      eachMessage: async ({ topic, partition, message }) => { read.push({ topic, partition, message }) },
    }).catch((e) => { failure = e })
  },

  async poll(request) {
    if (failure) throw failure
    const over = Date.now() + request.millis
    while (read.length < request.count && Date.now() < over) await new Promise((resolve) => setTimeout(resolve, 20))
    const taken = read.splice(0, request.count)
    const ends = new Map(taken.map((r) => [r.partition, {
      topic: r.topic, partition: r.partition, offset: String(BigInt(r.message.offset) + 1n),
    }]))
    const answer = { records: taken.map(recordOf) } // what was read is told also when it cannot be committed
    if (ends.size > 0) {
      try {
        await member.commitOffsets([...ends.values()])
      } catch (e) {
        if (!rebalanced.has((e.cause ?? e).type)) answer.error = String(e)
      }
    }
    return answer
  },

  leave: () => member.disconnect(),
}

// The member of a group that this process is, and what it has read that nobody has polled.
let member
let failure // to join
const read = []

// A commit that comes too late: somebody else will read the records.
const rebalanced = new Set(['REBALANCE_IN_PROGRESS', 'ILLEGAL_GENERATION', 'UNKNOWN_MEMBER_ID'])

function recordOf({ partition, message }) {
  const text = (b) => (b === null || b === undefined ? null : b.toString('base64'))
  const headers = Object.entries(message.headers ?? {}).flatMap(([key, values]) => (
    [].concat(values).map((value) => ({ key, value: text(value) }))
  ))
  return {
    partition, offset: Number(message.offset), timestamp: Number(message.timestamp),
    key: text(message.key), value: text(message.value), headers,
  }
}

// A header that comes more than once has a list of values.
function headersOf(headers) {
  const all = {}
  for (const { key, value } of headers) {
    if (key in all) all[key] = [].concat(all[key], [bytes(value)])
    else all[key] = bytes(value)
  }
  return all
}

function entriesOf(configs) {
  return Object.entries(configs ?? {}).map(([name, value]) => ({ name, value }))
}

async function administer(act) {
  const admin = kafka.admin()
  await admin.connect()
  try {
    return await act(admin)
  } finally {
    await admin.disconnect()
  }
}

async function main() {
  const say = (line) => process.stdout.write(JSON.stringify(line) + '\n')
  say({ client: 'kafkajs', version: require('kafkajs/package.json').version })
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const request = JSON.parse(line)
    try {
      if (!operations[request.op]) throw new Error(`unknown op ${request.op}`)
      say((await operations[request.op](request)) ?? {})
    } catch (e) {
      say({ error: String(e) })
    }
  }
}

main()
