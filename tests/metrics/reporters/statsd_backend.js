// A backend for npm's statsd that writes what it is flushed, as one line of JSON. Preloaded too (node --require), for the
// daemon calls util.log, which Node.js 23 no longer has.
const fs = require('fs');
const util = require('util');
if (!util.log) util.log = () => {};

exports.init = function (startup, config, events) {
  events.on('flush', (time, metrics) => {
    const { counters, gauges, timers, timer_counters } = metrics;
    fs.writeFileSync(config.results, JSON.stringify({ counters, gauges, timers, timer_counters }));
  });
  return true;
};
