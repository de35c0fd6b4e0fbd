internal import AttentionInspection
internal import Foundation
internal import HTTPTypes
internal import Hummingbird
internal import NIOCore
internal import PretrainedModels

/// What the page asks the server: JSON in, JSON or bytes out.
struct Interface: Sendable {
    /// No sentence that a model reads is as long; vectors that are pasted may be.
    private static let bodyLimit = 16 << 20

    let queue: ComputeQueue
    let shelf: ModelShelf

    func addRoutes(to router: Router<BasicRequestContext>) {
        router.get("/api/models") { _, _ in try Self.json(Models(names: shelf.names())) }
        router.post("/api/view") { request, _ in
            try await compute(request) { (question: ViewQuestion) in
                Reply(bytes: try Self.bytes(try question.answer(from: shelf)))
            }
        }
        router.post("/api/grid") { request, _ in
            try await compute(request) { (question: ViewQuestion) in
                Reply(bytes: try Self.bytes(try question.grid(from: shelf)))
            }
        }
        router.post("/api/weights") { request, _ in
            try await compute(request) { (question: ViewQuestion) in
                Reply(bytes: try question.weights(from: shelf), contentType: "application/octet-stream")
            }
        }
        router.post("/api/export") { request, _ in
            try await compute(request) { (question: ExportQuestion) in
                Reply(bytes: Array(try question.answer(from: shelf).utf8), contentType: question.format.contentType)
            }
        }
    }

    private struct Reply {
        let bytes: [UInt8]
        var contentType = "application/json; charset=utf-8"
    }

    private struct Models: Encodable {
        let names: [String]
    }

    // MARK: - Requests and responses

    /// Reads a question, answers it on the models' thread, and stops when the connection is closed.
    private func compute<Question: Decodable & Sendable>(
        _ request: Request, _ answer: @escaping @Sendable (Question) throws -> Reply
    ) async throws -> Response {
        var request = request
        let question: Question = try await Self.read(&request)
        let reply = try await request.body.consumeWithCancellationOnInboundClose { _ in
            try await queue.run {
                do {
                    return try answer(question)
                } catch let error as InspectionError {
                    throw RequestFailure(error)
                }
            }
        }
        // What watched the connection has used it up.
        return Response(
            status: .ok, headers: [.contentType: reply.contentType, .connection: "close"],
            body: .init(byteBuffer: ByteBuffer(bytes: reply.bytes)))
    }

    private static func read<Question: Decodable>(_ request: inout Request) async throws -> Question {
        // A form of another site can send text, but not this type.
        guard let type = request.headers[.contentType], type.lowercased().hasPrefix("application/json") else {
            throw RequestFailure(
                status: .unsupportedMediaType, what: "The body is not JSON.", place: "Content-Type",
                advice: "Send it as application/json.")
        }
        if let length = request.headers[.contentLength].flatMap({ Int($0) }), length > bodyLimit {
            throw tooLarge("\(length) bytes")
        }
        let body: ByteBuffer
        do {
            body = try await request.collectBody(upTo: bodyLimit)
        } catch is NIOTooManyBytesError {
            throw tooLarge("more than \(bodyLimit) bytes")
        }
        do {
            return try JSONDecoder().decode(Question.self, from: Data(body.readableBytesView))
        } catch let error as DecodingError {
            throw RequestFailure(
                status: .badRequest, what: description(of: error), place: "body",
                advice: "Send an object as docs/command.md describes it.")
        }
    }

    private static func tooLarge(_ size: String) -> RequestFailure {
        RequestFailure(
            status: .contentTooLarge, what: "The body has \(size); at most \(bodyLimit) are read.", place: "body",
            advice: "Shorten the text, or send fewer numbers.")
    }

    private static func description(of error: DecodingError) -> String {
        func place(_ context: DecodingError.Context) -> String {
            context.codingPath.isEmpty
                ? "The body" : "The member '\(context.codingPath.map(\.stringValue).joined(separator: "."))'"
        }
        return switch error {
        case .keyNotFound(let key, _): "The member '\(key.stringValue)' is missing."
        case .typeMismatch(_, let context), .valueNotFound(_, let context):
            "\(place(context)) has another type: \(context.debugDescription)"
        case .dataCorrupted(let context): "The body is not JSON: \(context.debugDescription)"
        @unknown default: "The body cannot be read."
        }
    }

    static func bytes(_ value: some Encodable) throws -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return Array(try encoder.encode(value))
    }

    private static func json(_ value: some Encodable) throws -> Response {
        Response(
            status: .ok, headers: [.contentType: "application/json; charset=utf-8"],
            body: .init(byteBuffer: ByteBuffer(bytes: try bytes(value))))
    }
}
