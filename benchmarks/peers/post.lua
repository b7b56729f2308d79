-- For wrk: the body and headers of every request come from the environment; the result is printed as one JSON object.
wrk.method = "POST"
local file = io.open(os.getenv("BENCH_BODY"), "rb")
wrk.body = file:read("*a")
file:close()
for line in io.lines(os.getenv("BENCH_HEADERS")) do
    local name, value = line:match("^([^:]+): *(.*)$")
    wrk.headers[name] = value
end

function done(summary, latency, requests)
    local failed = summary.errors
    local errors = failed.connect + failed.read + failed.write + failed.status + failed.timeout
    io.write(string.format(
        '\n{"requests": %d, "errors": %d, "events": 0, "seconds": %.6f, "p50_us": %d, "p99_us": %d}\n',
        summary.requests, errors, summary.duration / 1e6, latency:percentile(50), latency:percentile(99)))
end
