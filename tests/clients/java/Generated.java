package javax.annotation;

/** The mark that generated classes carry. It left the JDK with Java 11; Maven would fetch it. Nobody reads it. */
public @interface Generated {
    String[] value();

    String comments() default "";
}
