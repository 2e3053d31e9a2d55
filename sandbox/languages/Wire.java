// The frames and tagged values of sandbox/inside/codec.py, read and written with nothing but the standard library.
//
// In memory a tagged value is what JSON makes of it: null, Boolean, BigInteger, String, List, and Map for an object.
package touchstone;

import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.lang.reflect.Array;
import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

final class Wire {
    static final class Unsupported extends Exception {
        private static final long serialVersionUID = 1L;

        Unsupported(String message) {
            super(message);
        }
    }

    private static final int MAX_DEPTH = 60;

    private final String text;
    private int at;

    private Wire(String text) {
        this.text = text;
    }

    // Frames

    static Object readFrame(DataInputStream input) throws IOException {
        byte[] body = new byte[input.readInt()];
        input.readFully(body);
        return new Wire(new String(body, StandardCharsets.UTF_8)).value();
    }

    static void writeFrame(DataOutputStream output, String json) throws IOException {
        byte[] body = json.getBytes(StandardCharsets.UTF_8);
        output.writeInt(body.length);
        output.write(body);
        output.flush();
    }

    // JSON -> memory. What is read was written by the trusted side, so a fault in it is an error and no more.

    private Object value() throws IOException {
        switch (text.charAt(at)) {
            case '{':
                return object();
            case '[':
                return list();
            case '"':
                return string();
            case 't':
                return word("true", Boolean.TRUE);
            case 'f':
                return word("false", Boolean.FALSE);
            case 'n':
                return word("null", null);
            default:
                return number();
        }
    }

    private Object word(String word, Object meaning) throws IOException {
        if (!text.startsWith(word, at)) {
            throw new IOException("not JSON at " + at);
        }
        at += word.length();
        return meaning;
    }

    private BigInteger number() {
        int begin = at;
        while (at < text.length() && "-0123456789".indexOf(text.charAt(at)) >= 0) {
            at++;
        }
        return new BigInteger(text.substring(begin, at));
    }

    private Map<String, Object> object() throws IOException {
        Map<String, Object> found = new LinkedHashMap<>();
        at++;
        while (text.charAt(at) != '}') {
            String key = string();
            at++;
            found.put(key, value());
            if (text.charAt(at) == ',') {
                at++;
            }
        }
        at++;
        return found;
    }

    private List<Object> list() throws IOException {
        List<Object> found = new ArrayList<>();
        at++;
        while (text.charAt(at) != ']') {
            found.add(value());
            if (text.charAt(at) == ',') {
                at++;
            }
        }
        at++;
        return found;
    }

    private String string() {
        StringBuilder found = new StringBuilder();
        at++;
        while (text.charAt(at) != '"') {
            char next = text.charAt(at++);
            if (next != '\\') {
                found.append(next);
                continue;
            }
            next = text.charAt(at++);
            int plain = "bfnrt".indexOf(next);
            if (next == 'u') {
                found.append((char) Integer.parseInt(text.substring(at, at + 4), 16));
                at += 4;
            } else {
                found.append(plain >= 0 ? "\b\f\n\r\t".charAt(plain) : next);
            }
        }
        at++;
        return found.toString();
    }

    // Java's values -> JSON

    static String encode(Object value) throws Unsupported {
        StringBuilder out = new StringBuilder();
        encode(value, out, 0, false);
        return out.toString();
    }

    private static void encode(Object value, StringBuilder out, int depth, boolean hashed) throws Unsupported {
        if (depth > MAX_DEPTH) {
            throw new Unsupported("nested deeper than " + MAX_DEPTH);
        }
        if (value == null || value instanceof Boolean) {
            out.append(value);
        } else if (value instanceof Integer || value instanceof Long || value instanceof Short || value instanceof Byte) {
            out.append(value);
        } else if (value instanceof BigInteger) {
            BigInteger number = (BigInteger) value;
            out.append("{\"i\":\"").append(number.signum() < 0 ? "-" : "").append("0x");
            out.append(number.abs().toString(16)).append("\"}");
        } else if (value instanceof Double || value instanceof Float) {
            out.append("{\"f\":\"").append(hexOf(((Number) value).doubleValue())).append("\"}");
        } else if (value instanceof String || value instanceof Character || value instanceof StringBuilder) {
            quote(value.toString(), out);
        } else if (value instanceof Optional) {
            encode(((Optional<?>) value).orElse(null), out, depth + 1, hashed);
        } else {
            encodeMany(value, out, depth + 1, hashed);
        }
    }

    private static void encodeMany(Object value, StringBuilder out, int depth, boolean hashed) throws Unsupported {
        if (value.getClass().isArray()) {
            List<Object> items = new ArrayList<>();
            for (int index = 0; index < Array.getLength(value); index++) {
                items.add(Array.get(value, index));
            }
            encodeItems(items, hashed ? "t" : null, out, depth, hashed);
        } else if (value instanceof Set && !hashed) {
            encodeItems((Set<?>) value, "s", out, depth, true);
        } else if (value instanceof Map && !hashed) {
            encodePairs((Map<?, ?>) value, out, depth);
        } else if (value instanceof Collection && !(value instanceof Set)) {
            encodeItems((Collection<?>) value, hashed ? "t" : null, out, depth, hashed);
        } else {
            throw new Unsupported("a value of type " + cut(value.getClass().getSimpleName(), 80));
        }
    }

    private static void encodeItems(Collection<?> items, String tag, StringBuilder out, int depth, boolean hashed)
            throws Unsupported {
        out.append(tag == null ? "[" : "{\"" + tag + "\":[");
        boolean first = true;
        for (Object item : items) {
            out.append(first ? "" : ",");
            first = false;
            encode(item, out, depth, hashed);
        }
        out.append(tag == null ? "]" : "]}");
    }

    private static void encodePairs(Map<?, ?> pairs, StringBuilder out, int depth) throws Unsupported {
        out.append("{\"d\":[");
        boolean first = true;
        for (Map.Entry<?, ?> pair : pairs.entrySet()) {
            out.append(first ? "[" : ",[");
            first = false;
            encode(pair.getKey(), out, depth, true);
            out.append(',');
            encode(pair.getValue(), out, depth, false);
            out.append(']');
        }
        out.append("]}");
    }

    // As Python's float.hex writes it; Java's own text is the same but for the plus sign and the two infinities.
    private static String hexOf(double number) {
        if (Double.isNaN(number)) {
            return "nan";
        }
        if (Double.isInfinite(number)) {
            return number < 0 ? "-inf" : "inf";
        }
        return Double.toHexString(number);
    }

    static void quote(String text, StringBuilder out) {
        out.append('"');
        for (int index = 0; index < text.length(); index++) {
            char next = text.charAt(index);
            if (next == '"' || next == '\\') {
                out.append('\\').append(next);
            } else if (next < ' ' || next > '~') {
                out.append(String.format("\\u%04x", (int) next));
            } else {
                out.append(next);
            }
        }
        out.append('"');
    }

    static String cut(String text, int most) {
        return text.length() <= most ? text : text.substring(0, most);
    }
}
