import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublisher;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.Path;

/** Sends a picture with the JDK's HTTP client and prints one answer a line. */
public class Send {
  private static final HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();

  private static void send(String method, String url, String type, BodyPublisher body) throws Exception {
    var request = HttpRequest.newBuilder(URI.create(url)).method(method, body);
    if (type != null) request.header("Content-Type", type);
    var answer = client.send(request.build(), BodyHandlers.ofString());
    System.out.println("{\"status\":" + answer.statusCode() + ",\"body\":" + answer.body() + "}");
  }

  /** The client has no forms of its own. */
  private static BodyPublisher form(String headers, BodyPublisher body) {
    return BodyPublishers.concat(
      BodyPublishers.ofString("--b\r\nContent-Disposition: form-data; name=\"image\"" + headers + "\r\n\r\n"),
      body,
      BodyPublishers.ofString("\r\n--b--\r\n")
    );
  }

  public static void main(String[] args) throws Exception {
    var url = args[0];
    var picture = BodyPublishers.ofFile(Path.of(args[1]));
    var large = BodyPublishers.ofFile(Path.of(args[2]));
    var payload = BodyPublishers.ofFile(Path.of(args[3]));
    var post = url + "/v1/init-image";
    var multipart = "multipart/form-data; boundary=b";
    send("PUT", url + "/sessions/java/init-image", null, picture);
    send("POST", post, multipart, form("; filename=\"x.webp\"", picture));
    send("POST", post, "application/json", payload);
    send("POST", post, multipart, form("; filename=\"x.png\"", large));
    send("POST", post, multipart, form("", BodyPublishers.ofString("[object Object]")));
  }
}
