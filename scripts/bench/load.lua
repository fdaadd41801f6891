-- A script for wrk: requests tokens with the credentials of FILE, one Basic value a line, in turn. Prints the result as
-- one line of JSON.
--   wrk ... --script load.lua URL -- FILE
-- BENCH_COUNT=yes also counts the answers by status, which makes wrk a little slower.

local requests, next_one = {}, 0
local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

function init(args)
  statuses = {}
  for line in io.lines(args[1]) do
    requests[#requests + 1] = wrk.format("POST", "/token", {
      ["Authorization"] = "Basic " .. line,
      ["Content-Type"] = "application/x-www-form-urlencoded",
    }, "grant_type=client_credentials&scope=bench%3Aread")
  end
end

function request()
  next_one = next_one % #requests + 1
  return requests[next_one]
end

if os.getenv("BENCH_COUNT") == "yes" then
  function response(status)
    statuses[status] = (statuses[status] or 0) + 1
  end
end

function done(summary, latency)
  local counts = {}
  for _, thread in ipairs(threads) do
    for status, count in pairs(thread:get("statuses")) do
      table.insert(counts, string.format('"%d":%d', status, count))
    end
  end

  local errors = summary.errors
  local result = '{"requests":%d,"seconds":%.6f,"refused":%d,"broken":%d,"p50Microseconds":%d,"p99Microseconds":%d,'
    .. '"statuses":{%s}}\n'
  io.write(string.format(
    result, summary.requests, summary.duration / 1e6, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50), latency:percentile(99), table.concat(counts, ",")))
end
