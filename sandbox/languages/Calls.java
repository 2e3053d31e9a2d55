// Answers calls of a program's methods: reads them from descriptor 4, writes answers to descriptor 3.
//
// Nothing here is secret or trusted: whatever the program does to this process, it can only spoil or forge its own
// answers. Compiled by itself, before any program is seen.
package touchstone;

import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.FileDescriptor;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.lang.reflect.Array;
import java.lang.reflect.Constructor;
import java.lang.reflect.GenericArrayType;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.Type;
import java.lang.reflect.WildcardType;
import java.math.BigInteger;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Deque;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.LinkedList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Queue;
import java.util.Set;
import java.util.SortedMap;
import java.util.SortedSet;
import java.util.TreeMap;
import java.util.TreeSet;

public final class Calls {
    private static final int CALLS = 4;
    private static final int ANSWERS = 3;

    private final List<Class<?>> classes = new ArrayList<>();

    // The one argument: the names of the classes in which methods are looked for, best first, with commas between.
    public static void main(String[] words) throws Exception {
        DataOutputStream output = new DataOutputStream(new FileOutputStream(descriptor(ANSWERS)));
        Map<?, ?> job;
        try (DataInputStream input = new DataInputStream(new FileInputStream(descriptor(CALLS)))) {
            job = (Map<?, ?>) Wire.readFrame(input);
        }
        Calls calls = new Calls();
        try {
            for (String name : words[0].split(",")) {
                calls.load(name);
            }
        } catch (Throwable error) { // a static initialiser may throw anything
            Wire.writeFrame(output, "{\"does_not_load\":{" + describe(error) + "}}");
            return;
        }
        Wire.writeFrame(output, "{\"loaded\":true}");
        long mostBytes = ((BigInteger) job.get("most_bytes")).longValue();
        for (Object request : (List<?>) job.get("calls")) {
            Map<?, ?> call = (Map<?, ?>) request;
            String begin = "{\"id\":" + call.get("id") + ",";
            String answer = begin + calls.answer((String) call.get("call"), (List<?>) arguments(call)) + "}";
            System.out.flush();
            boolean tooBig = answer.length() > mostBytes;
            Wire.writeFrame(output, tooBig ? begin + "\"too_big\":" + answer.length() + "}" : answer);
        }
        output.writeInt(0);
        output.flush();
    }

    private static FileDescriptor descriptor(int number) throws ReflectiveOperationException {
        Constructor<FileDescriptor> constructor = FileDescriptor.class.getDeclaredConstructor(int.class);
        constructor.setAccessible(true);
        return constructor.newInstance(number);
    }

    private static Object arguments(Map<?, ?> call) {
        return ((Map<?, ?>) call.get("args")).get("t");
    }

    private void load(String name) throws ReflectiveOperationException {
        try {
            classes.add(Class.forName(name));
        } catch (ClassNotFoundException error) {
            // A nested class, or a word in the source that only looked like one.
        }
    }

    private String answer(String name, List<?> arguments) {
        try {
            String fault = "";
            for (Class<?> type : classes) {
                for (Method method : type.getDeclaredMethods()) {
                    if (!method.getName().equals(name) || method.getParameterCount() != arguments.size()) {
                        continue;
                    }
                    Object[] values;
                    try {
                        values = convert(arguments, method.getGenericParameterTypes());
                    } catch (Wire.Unsupported error) {
                        fault = error.getMessage();
                        continue;
                    }
                    return "\"value\":" + Wire.encode(call(type, method, values));
                }
            }
            if (!fault.isEmpty()) {
                throw new Wire.Unsupported(fault);
            }
            throw new NoSuchMethodException(name + " with " + arguments.size() + " parameters");
        } catch (Wire.Unsupported error) {
            StringBuilder out = new StringBuilder("\"unsupported\":");
            Wire.quote(Wire.cut(error.getMessage(), 200), out);
            return out.toString();
        } catch (InvocationTargetException error) {
            return describe(error.getCause());
        } catch (Throwable error) {
            return describe(error);
        }
    }

    private static Object call(Class<?> type, Method method, Object[] values) throws ReflectiveOperationException {
        method.setAccessible(true);
        if (Modifier.isStatic(method.getModifiers())) {
            return method.invoke(null, values);
        }
        Constructor<?> constructor = type.getDeclaredConstructor();
        constructor.setAccessible(true);
        return method.invoke(constructor.newInstance(), values);
    }

    private static String describe(Throwable error) {
        if (error instanceof ExceptionInInitializerError && error.getCause() != null) {
            error = error.getCause();
        }
        String base = "Exception";
        if (error instanceof OutOfMemoryError) {
            base = "MemoryError";
        } else if (error instanceof StackOverflowError) {
            base = "RecursionError";
        }
        String message = "";
        try {
            message = String.valueOf(error.getMessage());
        } catch (Throwable worse) {
            // getMessage may be the program's own
        }
        StringBuilder out = new StringBuilder("\"raised\":");
        Wire.quote(Wire.cut(error.getClass().getSimpleName(), 80), out);
        out.append(",\"base\":\"").append(base).append("\",\"message\":");
        Wire.quote(Wire.cut(message, 200), out);
        return out.toString();
    }

    // Tagged values -> the types that the parameters have

    private static Object[] convert(List<?> arguments, Type[] types) throws Wire.Unsupported {
        Object[] values = new Object[types.length];
        for (int index = 0; index < types.length; index++) {
            values[index] = convert(arguments.get(index), types[index]);
        }
        return values;
    }

    private static Object convert(Object data, Type type) throws Wire.Unsupported {
        Class<?> wanted = rawOf(type);
        Object found = null;
        if (data == null) {
            found = wanted == Optional.class ? Optional.empty() : null;
        } else if (wanted == Optional.class) {
            return Optional.of(convert(data, parameter(type, 0)));
        } else if (data instanceof Boolean) {
            found = wanted.isPrimitive() && wanted != boolean.class ? null : data;
        } else if (data instanceof String) {
            found = ofText((String) data, wanted);
        } else if (data instanceof BigInteger) {
            found = ofInteger((BigInteger) data, wanted);
        } else if (data instanceof List) {
            found = ofItems((List<?>) data, type, wanted);
        } else {
            Map.Entry<?, ?> tagged = ((Map<?, ?>) data).entrySet().iterator().next();
            found = ofTagged((String) tagged.getKey(), tagged.getValue(), type, wanted);
        }
        if (found == null ? data != null || wanted.isPrimitive() : !wanted.isPrimitive() && !wanted.isInstance(found)) {
            throw new Wire.Unsupported("an argument that is no " + Wire.cut(type.getTypeName(), 80));
        }
        return found;
    }

    private static Object ofTagged(String tag, Object body, Type type, Class<?> wanted) throws Wire.Unsupported {
        switch (tag) {
            case "f":
                return ofDouble(doubleOf((String) body), wanted);
            case "i":
                return ofInteger(new BigInteger(((String) body).replaceFirst("0x", ""), 16), wanted);
            case "t":
            case "s":
            case "z":
                return ofItems((List<?>) body, wanted == Object.class && !tag.equals("t") ? Set.class : type, wanted);
            case "d":
                return ofPairs((List<?>) body, type, wanted);
            case "k":
                return ofPairs((List<?>) ((List<?>) body).get(2), type, wanted);
            default:
                return null;
        }
    }

    private static double doubleOf(String hex) {
        switch (hex) {
            case "nan":
                return Double.NaN;
            case "inf":
                return Double.POSITIVE_INFINITY;
            case "-inf":
                return Double.NEGATIVE_INFINITY;
            default:
                return Double.parseDouble(hex);
        }
    }

    private static Object ofText(String text, Class<?> wanted) {
        if (wanted == char.class || wanted == Character.class) {
            return text.length() == 1 ? text.charAt(0) : null;
        }
        if (wanted == char[].class) {
            return text.toCharArray();
        }
        return text;
    }

    private static Object ofInteger(BigInteger number, Class<?> wanted) {
        int bits = number.bitLength();
        if (wanted == int.class || wanted == Integer.class) {
            return bits < 32 ? number.intValue() : null;
        }
        if (wanted == long.class || wanted == Long.class) {
            return bits < 64 ? number.longValue() : null;
        }
        if (wanted == double.class || wanted == Double.class) {
            return number.doubleValue();
        }
        if (wanted == float.class || wanted == Float.class) {
            return number.floatValue();
        }
        if (wanted == short.class || wanted == Short.class) {
            return bits < 16 ? number.shortValue() : null;
        }
        if (wanted == byte.class || wanted == Byte.class) {
            return bits < 8 ? number.byteValue() : null;
        }
        if (wanted == BigInteger.class) {
            return number;
        }
        if (bits < 32) { // a parameter of a wider type: Object, Number, a type variable
            return number.intValue();
        }
        return bits < 64 ? (Object) number.longValue() : number;
    }

    private static Object ofDouble(double number, Class<?> wanted) {
        if (wanted == float.class || wanted == Float.class) {
            return (float) number;
        }
        return wanted.isPrimitive() && wanted != double.class ? null : number;
    }

    private static Object ofItems(List<?> items, Type type, Class<?> wanted) throws Wire.Unsupported {
        if (wanted.isArray()) {
            Type inner = type instanceof GenericArrayType
                    ? ((GenericArrayType) type).getGenericComponentType() : wanted.getComponentType();
            Object found = Array.newInstance(wanted.getComponentType(), items.size());
            for (int index = 0; index < items.size(); index++) {
                Array.set(found, index, convert(items.get(index), inner));
            }
            return found;
        }
        Collection<Object> found = collection(type == Set.class ? Set.class : wanted);
        for (Object item : items) {
            found.add(convert(item, parameter(type, 0)));
        }
        return found;
    }

    private static Collection<Object> collection(Class<?> wanted) {
        if (SortedSet.class.isAssignableFrom(wanted)) {
            return new TreeSet<>();
        }
        if (Set.class.isAssignableFrom(wanted)) {
            return wanted == HashSet.class ? new HashSet<>() : new LinkedHashSet<>();
        }
        if (wanted == ArrayDeque.class || wanted == Deque.class || wanted == Queue.class) {
            return new ArrayDeque<>();
        }
        return wanted == LinkedList.class ? new LinkedList<>() : new ArrayList<>();
    }

    private static Object ofPairs(List<?> pairs, Type type, Class<?> wanted) throws Wire.Unsupported {
        Map<Object, Object> found;
        if (SortedMap.class.isAssignableFrom(wanted)) {
            found = new TreeMap<>();
        } else {
            found = wanted == HashMap.class ? new HashMap<>() : new LinkedHashMap<>();
        }
        for (Object each : pairs) {
            List<?> pair = (List<?>) each;
            found.put(convert(pair.get(0), parameter(type, 0)), convert(pair.get(1), parameter(type, 1)));
        }
        return found;
    }

    private static Type parameter(Type type, int index) {
        if (type instanceof ParameterizedType) {
            Type[] inner = ((ParameterizedType) type).getActualTypeArguments();
            return index < inner.length ? inner[index] : Object.class;
        }
        return Object.class;
    }

    private static Class<?> rawOf(Type type) {
        if (type instanceof Class) {
            return (Class<?>) type;
        }
        if (type instanceof ParameterizedType) {
            return rawOf(((ParameterizedType) type).getRawType());
        }
        if (type instanceof GenericArrayType) {
            return Array.newInstance(rawOf(((GenericArrayType) type).getGenericComponentType()), 0).getClass();
        }
        return type instanceof WildcardType ? rawOf(((WildcardType) type).getUpperBounds()[0]) : Object.class;
    }
}
