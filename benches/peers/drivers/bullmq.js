// BullMQ: bullmq.js work CONCURRENCY | single COUNT | bulk COUNT | steady COUNT PER_SECOND
const fs = require('fs');
const { Queue, Worker } = require('bullmq');

const CHUNK = 500;
const [what, first, second] = process.argv.slice(2);
const server = new URL(process.env.REDIS_URL);
const connection = { host: server.hostname, port: Number(server.port), maxRetriesPerRequest: null };
const milliseconds = () => performance.timeOrigin + performance.now();
const rest = (time) => new Promise((wake) => setTimeout(wake, time));

function work() {
  const job = async ({ data: { sent } }) => {
    if (sent) {
      const waited = Math.round((milliseconds() - sent) * 1e6);
      fs.appendFileSync(process.env.BENCH_WAITS, `${waited}\n`);
    }
  };
  new Worker('bench', job, { connection, concurrency: Number(first) }).on('error', console.error);
}

async function send(count) {
  const queue = new Queue('bench', { connection });
  await queue.waitUntilReady();
  const began = milliseconds();
  if (what === 'single') {
    for (let number = 0; number < count; number++) await queue.add('noop', { sent: 0 });
  } else if (what === 'bulk') {
    for (let left = count; left > 0; left -= CHUNK) {
      const chunk = Array.from({ length: Math.min(CHUNK, left) }, () => ({ name: 'noop', data: { sent: 0 } }));
      await queue.addBulk(chunk);
    }
  } else {
    for (let number = 1; number <= count; number++) {
      await rest(Math.max(0, began + (number * 1000) / Number(second) - milliseconds()));
      await queue.add('noop', { sent: milliseconds() });
    }
  }
  console.log(JSON.stringify({ jobs: count, seconds: (milliseconds() - began) / 1000 }));
  await queue.close();
}

if (what === 'work') work();
else send(Number(first));
