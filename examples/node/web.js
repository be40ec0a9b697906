// Load the http module to create an http server
const http = require('http');

// Respond with Hello World to all requests
const server = http.createServer(function (request, response) {
  response.writeHead(200, {'Content-Type': 'text/plain'});
  response.end('Hello World\n');
});

// Listen on the port that the dyno was given
const port = process.env.PORT;
server.listen(port, function () {
  console.log('Server listening on port ' + port);
});
