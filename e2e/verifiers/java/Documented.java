// The snippet of docs/verifying.md, as it stands: ../documented compiles it together with this file.
import com.nimbusds.jose.util.JSONObjectUtils;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.Map;

class Documented {
    public static void main(String[] args) throws Exception {
        var verifier = new Verifier();
        var lines = new BufferedReader(new InputStreamReader(System.in));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            Map<String, Object> verdict;
            try {
                var claims = verifier.verify(line.strip(), System.getenv("SCOPE"));
                verdict = Map.of("accepted", true, "claims", claims.toJSONObject());
            } catch (Exception why) {
                verdict = Map.of("accepted", false, "error", String.valueOf(why));
            }
            System.out.println(JSONObjectUtils.toJSONString(verdict));
        }
    }
}
