//! The place of every job, read in one snapshot so that none can be missed.

use std::collections::BTreeMap;
use std::time::Duration;

use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;

/// For each of the first ARGV[1] jobs that the tests have put in: its status, and in how many lists it is. With them the
/// deliveries, and which process is which.
const LOOK: &str = r"
local queues, lists = redis.call('SMEMBERS', 'rq:queues'), {}
local function seen(id, where) lists[id] = (lists[id] or '') .. ' ' .. where end
for _, full in ipairs(queues) do
  local queue = string.sub(full, 10)
  for _, id in ipairs(redis.call('LRANGE', full, 0, -1)) do seen(id, 'queue') end
  for _, kind in ipairs({ 'scheduled', 'finished', 'failed', 'canceled', 'deferred' }) do
    for _, id in ipairs(redis.call('ZRANGE', 'rq:' .. kind .. ':' .. queue, 0, -1)) do seen(id, kind) end
  end
  for _, member in ipairs(redis.call('ZRANGE', 'rq:wip:' .. queue, 0, -1)) do
    seen(string.match(member, '^(.*):[^:]*$'), 'wip')
  end
end
local nowhere = {}
for i = 1, #ARGV do
  local places = lists[ARGV[i]]
  if not places or string.find(string.sub(places, 2), ' ') then
    local status = redis.call('HGET', 'rq:job:' .. ARGV[i], 'status') or 'gone'
    nowhere[#nowhere + 1] = ARGV[i] .. ' (' .. status .. ') is in:' .. (places or ' no list')
  end
end
return { nowhere, redis.call('HGETALL', 'rq:tikkun:deliveries'), redis.call('HGETALL', 'rq:tikkun:processes') }
";

/// A connection for looks. One at some hundred thousand jobs takes longer than an answer usually may.
pub async fn connect(url: &str) -> MultiplexedConnection {
    let patient = AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_mins(1)));
    let client = redis::Client::open(url).unwrap();
    client.get_multiplexed_async_connection_with_config(&patient).await.unwrap()
}

/// One look.
pub struct Seen {
    /// Jobs in no list, or in two.
    pub astray: Vec<String>,
    /// Job and execution of each delivery, with the process that has it and the queue it came from.
    pub deliveries: BTreeMap<String, (String, String)>,
    /// Names of processes by their number in the operating system.
    processes: BTreeMap<u64, String>,
}

impl Seen {
    /// Deliveries of one process of the operating system.
    pub fn of(&self, pid: u32) -> Vec<(&str, &str)> {
        let Some(name) = self.processes.get(&u64::from(pid)) else { return Vec::new() };
        let held = self.deliveries.iter().filter(|(_, (process, _))| process == name);
        held.map(|(member, (_, queue))| (member.as_str(), queue.as_str())).collect()
    }
}

/// Looks for these jobs.
pub async fn look(connection: &mut MultiplexedConnection, jobs: &[String]) -> Seen {
    type Answer = (Vec<String>, BTreeMap<String, String>, BTreeMap<String, String>);
    let mut call = redis::cmd("EVAL");
    call.arg(LOOK).arg(0).arg(jobs);
    let (astray, deliveries, processes): Answer = call.query_async(connection).await.unwrap();
    let lent = |(member, text): (String, String)| {
        let (process, queue) = (text.split(' ').next().unwrap(), text.split(' ').nth(3).unwrap());
        (member, (process.to_owned(), queue.to_owned()))
    };
    let named = |(name, record): (String, String)| {
        let record: serde_json::Value = serde_json::from_str(&record).unwrap();
        (record["pid"].as_u64().unwrap(), name)
    };
    Seen {
        astray,
        deliveries: deliveries.into_iter().map(lent).collect(),
        processes: processes.into_iter().map(named).collect(),
    }
}
