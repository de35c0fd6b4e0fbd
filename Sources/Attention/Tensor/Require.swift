/// Stops the program with a message if its caller has broken a rule.
///
/// Unlike `precondition`, which drops its message where the code is optimised: both shapes have to be in the message of
/// a release build too. For programmers' mistakes only, never for data.
package func require(
    _ condition: Bool, _ message: @autoclosure () -> String, file: StaticString = #fileID, line: UInt = #line
) {
    if !condition { stop(message(), file: file, line: line) }
}

/// Stops the program with a message.
package func stop(_ message: String, file: StaticString = #fileID, line: UInt = #line) -> Never {
    fatalError(message, file: file, line: line)
}
