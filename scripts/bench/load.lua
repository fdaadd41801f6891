-- A script for wrk: makes the requests of FILE, in turn. Prints the result as one line of JSON.
--   wrk ... --script load.lua URL -- FILE
-- A line of FILE is one of these:
--   BASIC        a Basic value: a token request with these credentials
--   FORM BODY    a token request with this form
--   BASIC PROOF, FORM BODY PROOF   the same with this DPoP proof
--   NEW SECRET   a token request with this secret and, each time, another client_id that was never used before
--   GET PATH     a GET of this path
-- BENCH_REPEAT=yes sends the first line only, without a call of this script for each request, so that wrk keeps up with
-- the fastest server.
-- BENCH_ONCE=yes sends each line once, because its assertion or proof works once, and ends the load after the last.
-- BENCH_COUNT=yes also counts the answers by status, which makes wrk a little slower.

local requests, next_one, invented = {}, 0, 0
local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

local body = "grant_type=client_credentials&scope=bench%3Aread"

local function headers(basic, proof)
  return {
    ["Authorization"] = basic and "Basic " .. basic,
    ["Content-Type"] = "application/x-www-form-urlencoded",
    ["DPoP"] = proof,
  }
end

local function token_request(basic, proof)
  return wrk.format("POST", "/token", headers(basic, proof), body)
end

local function form_request(form, proof)
  return wrk.format("POST", "/token", headers(nil, proof), form)
end

local alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

local function base64(text)
  local made = {}
  for i = 1, #text, 3 do
    local a, b, c = text:byte(i, i + 2)
    local bits = a * 65536 + (b or 0) * 256 + (c or 0)
    for place = 3, 0, -1 do
      local digit = math.floor(bits / 64 ^ place) % 64 + 1
      made[#made + 1] = alphabet:sub(digit, digit)
    end
    if not c then made[#made] = "=" end
    if not b then made[#made - 1] = "=" end
  end
  return table.concat(made)
end

function init(args)
  statuses, exhausted = {}, "no"
  if os.getenv("BENCH_REPEAT") == "yes" then
    wrk.method, wrk.path, wrk.headers, wrk.body = "POST", "/token", headers(io.lines(args[1])()), body
    wrk.headers["Host"] = wrk.host
    return
  end

  for line in io.lines(args[1]) do
    local path, secret = line:match("^GET (.+)"), line:match("^NEW (.+)")
    local form, form_proof = line:match("^FORM (%S+) ?(%S*)$")
    local basic, proof = line:match("^(%S+) ?(%S*)$")
    requests[#requests + 1] =
      path and wrk.format("GET", path)
      or secret and function()
        invented = invented + 1
        return token_request(base64("invented-" .. invented .. ":" .. secret))
      end
      or form and form_request(form, form_proof ~= "" and form_proof or nil)
      or token_request(basic, proof ~= "" and proof or nil)
  end
end

if os.getenv("BENCH_REPEAT") ~= "yes" then
  local is_once = os.getenv("BENCH_ONCE") == "yes"

  function request()
    if is_once and next_one == #requests then
      exhausted = "yes"
      wrk.thread:stop()
    end
    next_one = next_one % #requests + 1
    local made = requests[next_one]
    return type(made) == "function" and made() or made
  end
end

if os.getenv("BENCH_COUNT") == "yes" then
  function response(status)
    statuses[status] = (statuses[status] or 0) + 1
  end
end

function done(summary, latency)
  local counts, all_sent = {}, false
  for _, thread in ipairs(threads) do
    all_sent = all_sent or thread:get("exhausted") == "yes"
    for status, count in pairs(thread:get("statuses")) do
      table.insert(counts, string.format('"%d":%d', status, count))
    end
  end

  local errors = summary.errors
  local result = '{"requests":%d,"seconds":%.6f,"refused":%d,"broken":%d,"p50Microseconds":%d,"p99Microseconds":%d,'
    .. '"exhausted":%s,"statuses":{%s}}\n'
  io.write(string.format(
    result, summary.requests, summary.duration / 1e6, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50), latency:percentile(99), tostring(all_sent), table.concat(counts, ",")))
end
