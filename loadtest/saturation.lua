-- wrk -s saturation.lua URL -- METHOD BODY_BYTES [TOKENS]
-- With a file of tokens, one a line, each request carries the next one; else no code of ours runs for a request.
-- At the end one line of JSON on stdout.
function init(args)
  wrk.method = args[1]
  local size = tonumber(args[2])
  if size > 0 then wrk.body = string.rep("x", size) end
  if args[3] then
    local ready, at = {}, 0
    for token in io.lines(args[3]) do
      wrk.headers["Txn-Token"] = token
      ready[#ready + 1] = wrk.format()
    end
    request = function()
      at = at % #ready + 1
      return ready[at]
    end
  end
end

function done(summary, latency, requests)
  local e = summary.errors
  local p = function(percentile) return latency:percentile(percentile) / 1000 end
  io.write(string.format(
    '{"requests":%d,"duration_us":%d,"bytes":%d,"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d,' ..
    '"percentiles_ms":{"p50":%g,"p75":%g,"p90":%g,"p99":%g,"p99.9":%g,"p99.99":%g,"max":%g}}\n',
    summary.requests, summary.duration, summary.bytes, e.connect, e.read, e.write, e.status, e.timeout,
    p(50), p(75), p(90), p(99), p(99.9), p(99.99), latency.max / 1000))
end
