// Answers each request with its body, reversed; a pool of threads does it.
import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;
import java.util.concurrent.Executors;

class Server {
    public static void main(String[] args) throws Exception {
        var server = HttpServer.create(new InetSocketAddress("127.0.0.1", Integer.parseInt(args[0])), 0);
        server.createContext("/", request -> {
            byte[] body = request.getRequestBody().readAllBytes();
            for (int i = 0, j = body.length - 1; i < j; i++, j--) {
                byte b = body[i];
                body[i] = body[j];
                body[j] = b;
            }
            request.sendResponseHeaders(200, body.length);
            request.getResponseBody().write(body);
            request.close();
        });
        server.setExecutor(Executors.newFixedThreadPool(4));
        server.start();
    }
}
