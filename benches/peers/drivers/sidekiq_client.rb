# Sidekiq's client: sidekiq_client.rb single|bulk|steady COUNT [PER_SECOND]
require_relative 'sidekiq_jobs'
require 'json'

CHUNK = 500
what, count, rate = ARGV[0], ARGV[1].to_i, ARGV[2].to_f
Sidekiq.redis(&:ping)
began = nanoseconds
case what
when 'single' then count.times { Noop.perform_async(0) }
when 'bulk'
  (0...count).each_slice(CHUNK) { |chunk| Sidekiq::Client.push_bulk('class' => Noop, 'args' => chunk.map { [0] }) }
else
  count.times do |number|
    sleep([0, (began + (number + 1) * 1e9 / rate - nanoseconds) / 1e9].max)
    Noop.perform_async(nanoseconds)
  end
end
puts JSON.generate(jobs: count, seconds: (nanoseconds - began) / 1e9)
