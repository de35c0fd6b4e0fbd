/// Writes a run's figures as JSON lines, `{"step":100,"loss":2.5,"tokens per second":9000.0}`.
///
/// Each line is with the system when ``write(step:_:)`` returns, so that a killed process loses none. Whoever resumes
/// from a checkpoint gives its step: lines of later steps are cut off, since they will be written again.
public final class MetricsWriter {
    private let file: AppendedFile

    /// Opens the file, and makes it if it is absent.
    ///
    /// - Parameters:
    ///   - path: The file's path.
    ///   - step: The last step whose lines stay; `nil` begins anew, with an empty file.
    /// - Throws: ``MetricsError`` when the system refuses, or a line is not of a step. A last line that has no end, as a
    ///   machine that lost its power leaves it, is cut off.
    public init(_ path: String, resumingFrom step: Int? = nil) throws(MetricsError) {
        let keptCount = try step.map { step throws(MetricsError) in try Self.count(ofLinesUpTo: step, in: path) } ?? 0
        do {
            file = try AppendedFile(path, keeping: keptCount)
        } catch {
            throw .file(error)
        }
    }

    /// Appends a line.
    ///
    /// - Parameters:
    ///   - step: The number of steps trained.
    ///   - values: Figures by name, each name once and none of them `step`; those that are not finite become `null`.
    /// - Throws: ``MetricsError/file(_:)`` when the system refuses; nothing of the line is written then.
    public func write(step: Int, _ values: [(name: String, value: Double)]) throws(MetricsError) {
        var line = JSONObject()
        line.append("step", .integer(Int64(step)))
        for (name, value) in values { line.append(name, value.isFinite ? .number(value) : .null) }
        do {
            try file.append(try JSONValue.object(line).serialized() + [UInt8(ascii: "\n")])
        } catch let error as FileError {
            throw .file(error)
        } catch {
            throw .malformedLine(path: file.path, line: 0, reason: "\(error)")
        }
    }

    /// Waits until the disk has all lines, as a checkpoint wants it.
    ///
    /// - Throws: ``MetricsError/file(_:)`` when the system refuses.
    public func synchronize() throws(MetricsError) {
        do {
            try file.synchronize()
        } catch {
            throw .file(error)
        }
    }

    /// Returns how many bytes the lines take that come before the first of a later step.
    private static func count(ofLinesUpTo step: Int, in path: String) throws(MetricsError) -> Int {
        let file: MappedFile
        do {
            guard try Folder.kind(of: path) != .absent else { return 0 }
            file = try MappedFile(reading: path)
        } catch {
            throw .file(error)
        }
        return try file.withUnsafeBytes { bytes throws(MetricsError) in
            var start = 0
            var number = 0
            while let end = bytes[start...].firstIndex(of: UInt8(ascii: "\n")) {
                number += 1
                let value: JSONValue
                do {
                    value = try JSONValue(parsing: UnsafeRawBufferPointer(rebasing: bytes[start..<end]))
                } catch {
                    throw .malformedLine(path: path, line: number, reason: "\(error)")
                }
                guard let lineStep = value["step"]?.integerValue else {
                    throw .malformedLine(path: path, line: number, reason: "it has no step.")
                }
                if lineStep > step { return start }
                start = end + 1
            }
            return start
        }
    }
}

/// Figures of a run that cannot be written or gone on with.
public enum MetricsError: Error, Equatable, CustomStringConvertible {
    /// The system refused; that the disk is full, too.
    case file(FileError)
    /// A line that is not of a step.
    case malformedLine(path: String, line: Int, reason: String)

    /// What went wrong, where, and what to try.
    public var description: String {
        switch self {
        case .file(let error): return error.description
        case .malformedLine(let path, let line, let reason):
            return "'\(path)', line \(line), is no line of figures: \(reason) Correct it, or move the file away."
        }
    }
}
