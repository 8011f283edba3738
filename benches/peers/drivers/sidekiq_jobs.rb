# The job of Sidekiq's worker and client: does nothing, or tells how long it waited.
require 'sidekiq'

Sidekiq.configure_server { |config| config.redis = { url: ENV['REDIS_URL'] } }
Sidekiq.configure_client { |config| config.redis = { url: ENV['REDIS_URL'] } }
Sidekiq.logger.level = Logger::WARN

def nanoseconds
  Process.clock_gettime(Process::CLOCK_REALTIME, :nanosecond)
end

class Noop
  include Sidekiq::Worker

  def perform(sent)
    return if sent.zero?

    waited = nanoseconds - sent
    File.open(ENV['BENCH_WAITS'], 'a') { |waits| waits.puts(waited) }
  end
end
