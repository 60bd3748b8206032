// Answers each request with its body, reversed by way of a buffer of its own.
const http = require('http');
http.createServer((request, response) => {
  const parts = [];
  request.on('data', part => parts.push(part));
  request.on('end', () => response.end(Buffer.concat(parts).reverse()));
}).listen(+process.argv[2], '127.0.0.1');
