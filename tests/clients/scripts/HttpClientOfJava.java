import java.io.ByteArrayInputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.concurrent.CompletableFuture;

/** Asks as every program on java.net.http does: its first request offers HTTP/2. Prints name, status and body. */
public class HttpClientOfJava {
    public static void main(String[] asked) throws Exception {
        String url = asked[0];
        String plain = asked[1];
        String streamed = asked[2];

        // Each of a client of its own, so that each is the first of a connection.
        tell("status", url + "/", null);
        tell("plain", url + "/generate", BodyPublishers.ofString(plain));
        byte[] bytes = plain.getBytes(StandardCharsets.UTF_8);
        tell("chunked", url + "/generate", BodyPublishers.ofInputStream(() -> new ByteArrayInputStream(bytes)));
        tell("streamed", url + "/generate", BodyPublishers.ofString(streamed));

        // Several at once, and again on the same connections.
        HttpClient client = HttpClient.newHttpClient();
        HttpRequest request = request(url + "/generate", BodyPublishers.ofString(plain));
        for (int round = 0; round < 2; round++) {
            List<CompletableFuture<Integer>> several = new ArrayList<>();
            for (int number = 0; number < 4; number++) {
                several.add(client.sendAsync(request, BodyHandlers.ofString()).thenApply(answer -> answer.statusCode()));
            }
            for (CompletableFuture<Integer> each : several) {
                print("several", each.get(), "");
            }
        }
    }

    private static HttpRequest request(String url, HttpRequest.BodyPublisher body) {
        HttpRequest.Builder builder = HttpRequest.newBuilder(URI.create(url));
        return body == null ? builder.build() : builder.POST(body).build();
    }

    private static void tell(String name, String url, HttpRequest.BodyPublisher body) throws Exception {
        var answer = HttpClient.newHttpClient().send(request(url, body), BodyHandlers.ofString());
        print(name, answer.statusCode(), answer.body());
    }

    private static void print(String name, int status, String body) {
        String encoded = Base64.getEncoder().encodeToString(body.getBytes(StandardCharsets.UTF_8));
        System.out.println(name + " " + status + " " + encoded);
    }
}
