package javax.annotation;

/** The annotation on generated classes. Java 11 removed it from the JDK and Maven would fetch it; nothing reads it. */
public @interface Generated {
    String[] value();

    String comments() default "";
}
