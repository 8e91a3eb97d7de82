import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.IOException;
import java.net.DatagramPacket;
import java.net.DatagramSocket;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Random;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.eclipse.californium.core.CoapClient;
import org.eclipse.californium.core.CoapHandler;
import org.eclipse.californium.core.CoapObserveRelation;
import org.eclipse.californium.core.CoapResponse;
import org.eclipse.californium.core.coap.MediaTypeRegistry;
import org.eclipse.californium.core.config.CoapConfig;
import org.eclipse.californium.core.network.CoapEndpoint;
import org.eclipse.californium.elements.DtlsEndpointContext;
import org.eclipse.californium.elements.EndpointContext;
import org.eclipse.californium.elements.config.Configuration;
import org.eclipse.californium.elements.util.SslContextUtil;
import org.eclipse.californium.scandium.DTLSConnector;
import org.eclipse.californium.scandium.config.DtlsConfig;
import org.eclipse.californium.scandium.config.DtlsConnectorConfig;
import org.eclipse.californium.scandium.dtls.CertificateType;
import org.eclipse.californium.scandium.dtls.SingleNodeConnectionIdGenerator;
import org.eclipse.californium.scandium.dtls.x509.SingleCertificateProvider;
import org.eclipse.californium.scandium.dtls.x509.StaticNewAdvancedCertificateVerifier;

/** Californium, which the reference platform itself is made of: plain CoAP, then DTLS by certificate and with connection ids. */
class CaliforniumDevices {
  static final long PATIENCE = 20_000;
  static final Path WORK = Path.of(System.getenv("WORK"));

  public static void main(String[] arguments) throws Exception {
    CoapConfig.register();
    DtlsConfig.register();
    plain();
    secured();
    System.exit(0);
  }

  static void plain() throws Exception {
    String[] device = people("device").split(" ");
    String server = "coap://127.0.0.1:" + System.getenv("COAP_PORT");
    exercise("", server, "/api/v1/" + device[1], "/fw/" + device[1], device[0],
        new CoapEndpoint.Builder().setConfiguration(settings()).build());
  }

  static void secured() throws Exception {
    String[] device = people("device").split(" ");
    people("certificate", device[0], System.getenv("CERTIFICATES") + "/californium.crt");
    try (Moving network = new Moving(Integer.parseInt(System.getenv("COAPS_PORT")))) {
      CoapEndpoint endpoint = dtls();
      String server = "coaps://127.0.0.1:" + network.port();
      exercise("DTLS: ", server, "/api/v1", "/fw", device[0], endpoint);
      CoapClient client = new CoapClient(server + "/api/v1/telemetry").setEndpoint(endpoint).setTimeout(PATIENCE);
      CoapResponse answer = post(client, "{\"place\":1}");
      EndpointContext context = answer.advanced().getSourceContext();
      expect("DTLS: the server gives a connection id", context.get(DtlsEndpointContext.KEY_WRITE_CONNECTION_ID).length() > 0, true);
      String session = context.get(DtlsEndpointContext.KEY_HANDSHAKE_TIMESTAMP).toString();
      network.move();
      answer = post(client, "{\"place\":2}");
      expect("DTLS: from another address it goes on", answer.getCode().text, "2.01");
      expect("DTLS: without another handshake", answer.advanced().getSourceContext().get(DtlsEndpointContext.KEY_HANDSHAKE_TIMESTAMP).toString(), session);
      people("latest", device[0], "{\"place\":2}");
      Observer attributes = new Observer(server + "/api/v1/attributes", endpoint);
      attributes.next();
      network.move();
      post(client, "{\"place\":3}");
      people("share", device[0], "{\"moved\":true}");
      expect("DTLS: an observer that moved is still told", attributes.next(), "{\"moved\":true}");
    }
  }

  /** The device API over an endpoint; resources are below api, the firmware is fw. */
  static void exercise(String how, String server, String api, String fw, String device, CoapEndpoint endpoint) throws Exception {
    CoapClient telemetry = new CoapClient(server + api + "/telemetry").setEndpoint(endpoint).setTimeout(PATIENCE);
    expect(how + "C01 C13 a reading", post(telemetry, "{\"t\":1.5}").getCode().text, "2.01");
    expect(how + "C03 what is not JSON", post(telemetry, "x{").getCode().text, "4.00");
    String large = "{\"long\":\"" + "x".repeat(20_000) + "\"}";
    expect(how + "C15 20,000 bytes up in blocks", post(telemetry, large).getCode().text, "2.01");
    people("latest", device, "{\"t\":1.5}");
    people("latest", device, large);

    Observer attributes = new Observer(server + api + "/attributes", endpoint);
    expect(how + "C05 attributes observed", attributes.next(), "{}");
    for (int n = 0; n < 3; n++) {
      people("share", device, "{\"a\":" + n + "}");
      expect(how + "C05 a change comes", attributes.next(), "{\"a\":" + n + "}");
    }
    attributes.relation.proactiveCancel();
    Observer requests = new Observer(server + api + "/rpc", endpoint);
    expect(how + "C06 requests observed", requests.next(), "");
    Process caller = start("ask", device, "blink", "{\"n\":1}");
    String request = requests.next();
    String id = request.replaceAll("^\\{\"id\":(\\d+),.*", "$1");
    expect(how + "C06 a request comes", request, "{\"id\":" + id + ",\"method\":\"blink\",\"params\":{\"n\":1}}");
    CoapClient reply = new CoapClient(server + api + "/rpc/" + id).setEndpoint(endpoint).setTimeout(PATIENCE);
    expect(how + "C06 it is answered", post(reply, "{\"r\":1}").getCode().text, "2.01");
    expect(how + "C06 the caller gets the answer", answer(caller), "{\"r\": 1}");
    requests.relation.proactiveCancel();

    byte[] firmware = new byte[10_240];
    new Random().nextBytes(firmware);
    Path file = Files.write(WORK.resolve("californium"), firmware);
    people("firmware", device, file.toString(), "controller" + System.nanoTime(), "1");
    CoapResponse fetched = new CoapClient(server + fw).setEndpoint(endpoint).setTimeout(PATIENCE).get();
    expect(how + "C16 a firmware down in blocks", fetched != null && Arrays.equals(fetched.getPayload(), firmware), true);
  }

  /** Californium's own settings, but for the longest body that it takes. */
  static Configuration settings() {
    return Configuration.createStandardWithoutFile().set(CoapConfig.MAX_RESOURCE_BODY_SIZE, 65_536);
  }

  static CoapEndpoint dtls() throws Exception {
    String certificates = System.getenv("CERTIFICATES");
    SslContextUtil.Credentials own = SslContextUtil.loadCredentials(certificates + "/californium.pem");
    var verifier = StaticNewAdvancedCertificateVerifier.builder()
        .setTrustedCertificates(SslContextUtil.loadTrustedCertificates(certificates + "/authority.pem")).build();
    Configuration settings = settings().set(DtlsConfig.DTLS_ROLE, DtlsConfig.DtlsRole.CLIENT_ONLY);
    var dtls = DtlsConnectorConfig.builder(settings).setAddress(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0))
        .setCertificateIdentityProvider(new SingleCertificateProvider(own.getPrivateKey(), own.getCertificateChain(), CertificateType.X_509))
        .setAdvancedCertificateVerifier(verifier).setConnectionIdGenerator(new SingleNodeConnectionIdGenerator(4));
    return new CoapEndpoint.Builder().setConfiguration(settings).setConnector(new DTLSConnector(dtls.build())).build();
  }

  static CoapResponse post(CoapClient client, String body) throws Exception {
    CoapResponse answer = client.post(body, MediaTypeRegistry.APPLICATION_JSON);
    if (answer == null) {
      throw new IllegalStateException(client.getURI() + " does not answer");
    }
    return answer;
  }

  static void expect(String what, Object got, Object want) {
    if (!want.equals(got)) {
      System.out.println(what + ": got " + got + ", want " + want);
      System.exit(1);
    }
    System.out.println("     " + what);
  }

  /** What people do meanwhile: people.py with these arguments. */
  static String people(String... arguments) throws Exception {
    return answer(start(arguments));
  }

  static Process start(String... arguments) throws IOException {
    String[] command = new String[arguments.length + 2];
    command[0] = "python3";
    command[1] = "people.py";
    System.arraycopy(arguments, 0, command, 2, arguments.length);
    return new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.INHERIT).start();
  }

  static String answer(Process process) throws Exception {
    String text = new String(process.getInputStream().readAllBytes(), UTF_8).strip();
    expectSuccess(process.waitFor());
    return text;
  }

  static void expectSuccess(int code) {
    if (code != 0) {
      System.exit(code);
    }
  }

  /** An observed resource: what it sends, one after the other. */
  static class Observer implements CoapHandler {
    final BlockingQueue<String> came = new LinkedBlockingQueue<>();
    final CoapObserveRelation relation;

    Observer(String uri, CoapEndpoint endpoint) {
      relation = new CoapClient(uri).setEndpoint(endpoint).setTimeout(PATIENCE).observe(this);
    }

    @Override
    public void onLoad(CoapResponse response) {
      came.add(response.isSuccess() ? response.getResponseText() : response.getCode().text);
    }

    @Override
    public void onError() {
      came.add("an error");
    }

    String next() throws InterruptedException {
      String text = came.poll(PATIENCE, TimeUnit.MILLISECONDS);
      return text == null ? "nothing" : text;
    }
  }

  /** A network that gives a client another address towards the server whenever it moves. */
  static class Moving implements AutoCloseable {
    final InetAddress loopback = InetAddress.getLoopbackAddress();
    final DatagramSocket inside = new DatagramSocket(0, loopback);
    final int server;
    volatile DatagramSocket outside;
    volatile InetSocketAddress client;

    Moving(int server) throws IOException {
      this.server = server;
      move();
      carry(inside, packet -> {
        client = new InetSocketAddress(packet.getAddress(), packet.getPort());
        outside.send(new DatagramPacket(packet.getData(), packet.getLength(), loopback, server));
      });
    }

    int port() {
      return inside.getLocalPort();
    }

    final void move() throws IOException {
      DatagramSocket before = outside, after = new DatagramSocket(0, loopback);
      carry(after, packet -> inside.send(new DatagramPacket(packet.getData(), packet.getLength(), client)));
      outside = after;
      if (before != null) {
        before.close();
      }
    }

    interface Act {
      void on(DatagramPacket packet) throws IOException;
    }

    static void carry(DatagramSocket socket, Act act) {
      Thread thread = new Thread(() -> {
        byte[] room = new byte[65_536];
        try {
          while (true) {
            DatagramPacket packet = new DatagramPacket(room, room.length);
            socket.receive(packet);
            act.on(packet);
          }
        } catch (IOException closed) {
          // The socket was closed: the network has moved, or is gone.
        }
      });
      thread.setDaemon(true);
      thread.start();
    }

    @Override
    public void close() {
      inside.close();
      outside.close();
    }
  }
}
