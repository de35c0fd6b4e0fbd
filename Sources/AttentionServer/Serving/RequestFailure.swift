internal import Foundation
internal import HTTPTypes
internal import Hummingbird

/// A request that cannot be answered: what was wrong, where, and what to try.
struct RequestFailure: Error {
    let status: HTTPResponse.Status
    let what: String
    /// The part of the request that is to blame, such as `sentence` or `model`.
    let place: String
    let advice: String
    /// In how many seconds to try again, where that helps.
    var retryAfter: Int?

    private struct Body: Encodable {
        struct Fields: Encodable {
            let what: String
            let place: String
            let advice: String

            private enum CodingKeys: String, CodingKey {
                case what
                case place = "where"
                case advice = "try"
            }
        }

        let error: Fields
    }

    /// The failure as JSON: `{"error": {"what", "where", "try"}}`.
    func response() -> Response {
        let body = Body(error: .init(what: what, place: place, advice: advice))
        // Strings are always encoded.
        let bytes = (try? Interface.bytes(body)) ?? []
        var headers: HTTPFields = [.contentType: "application/json; charset=utf-8"]
        if let retryAfter { headers[.retryAfter] = String(retryAfter) }
        return Response(status: status, headers: headers, body: .init(byteBuffer: ByteBuffer(bytes: bytes)))
    }
}
