# The article serves with WEBrick, which left Ruby's standard library in 3.0. This server
# needs nothing but Ruby itself.
require "socket"

server = TCPServer.new("0.0.0.0", Integer(ENV.fetch("PORT")))
%w[INT TERM].each { |signal| trap(signal) { exit } }
$stdout.sync = true
puts "Server listening on port #{ENV["PORT"]}"

loop do
  Thread.start(server.accept) do |client|
    nil until [nil, "\r\n"].include?(client.gets)
    body = "Hello, world!\n"
    client.write "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n" \
                 "Content-Length: #{body.bytesize}\r\nConnection: close\r\n\r\n#{body}"
  ensure
    client.close
  end
end
