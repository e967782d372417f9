package wire

import (
	"errors"
	"fmt"
)

// ErrorCode is an error in Kafka's numbers. It travels from disk to socket as it is: errors.Is(err,
// NotLeaderOrFollower) holds wherever that error was wrapped.
type ErrorCode int16

// Kafka's error codes, as the protocol numbers them.
const (
	UnknownServerError                 ErrorCode = -1
	None                               ErrorCode = 0
	OffsetOutOfRange                   ErrorCode = 1
	CorruptMessage                     ErrorCode = 2
	UnknownTopicOrPartition            ErrorCode = 3
	InvalidFetchSize                   ErrorCode = 4
	LeaderNotAvailable                 ErrorCode = 5
	NotLeaderOrFollower                ErrorCode = 6
	RequestTimedOut                    ErrorCode = 7
	BrokerNotAvailable                 ErrorCode = 8
	ReplicaNotAvailable                ErrorCode = 9
	MessageTooLarge                    ErrorCode = 10
	StaleControllerEpoch               ErrorCode = 11
	OffsetMetadataTooLarge             ErrorCode = 12
	NetworkException                   ErrorCode = 13
	CoordinatorLoadInProgress          ErrorCode = 14
	CoordinatorNotAvailable            ErrorCode = 15
	NotCoordinator                     ErrorCode = 16
	InvalidTopic                       ErrorCode = 17
	RecordListTooLarge                 ErrorCode = 18
	NotEnoughReplicas                  ErrorCode = 19
	NotEnoughReplicasAfterAppend       ErrorCode = 20
	InvalidRequiredAcks                ErrorCode = 21
	IllegalGeneration                  ErrorCode = 22
	InconsistentGroupProtocol          ErrorCode = 23
	InvalidGroupID                     ErrorCode = 24
	UnknownMemberID                    ErrorCode = 25
	InvalidSessionTimeout              ErrorCode = 26
	RebalanceInProgress                ErrorCode = 27
	InvalidCommitOffsetSize            ErrorCode = 28
	TopicAuthorizationFailed           ErrorCode = 29
	GroupAuthorizationFailed           ErrorCode = 30
	ClusterAuthorizationFailed         ErrorCode = 31
	InvalidTimestamp                   ErrorCode = 32
	UnsupportedSASLMechanism           ErrorCode = 33
	IllegalSASLState                   ErrorCode = 34
	UnsupportedVersion                 ErrorCode = 35
	TopicAlreadyExists                 ErrorCode = 36
	InvalidPartitions                  ErrorCode = 37
	InvalidReplicationFactor           ErrorCode = 38
	InvalidReplicaAssignment           ErrorCode = 39
	InvalidConfig                      ErrorCode = 40
	NotController                      ErrorCode = 41
	InvalidRequest                     ErrorCode = 42
	UnsupportedForMessageFormat        ErrorCode = 43
	PolicyViolation                    ErrorCode = 44
	OutOfOrderSequenceNumber           ErrorCode = 45
	DuplicateSequenceNumber            ErrorCode = 46
	InvalidProducerEpoch               ErrorCode = 47
	InvalidTxnState                    ErrorCode = 48
	InvalidProducerIDMapping           ErrorCode = 49
	InvalidTransactionTimeout          ErrorCode = 50
	ConcurrentTransactions             ErrorCode = 51
	TransactionCoordinatorFenced       ErrorCode = 52
	TransactionalIDAuthorizationFailed ErrorCode = 53
	SecurityDisabled                   ErrorCode = 54
	OperationNotAttempted              ErrorCode = 55
	KafkaStorageError                  ErrorCode = 56
	LogDirNotFound                     ErrorCode = 57
	SASLAuthenticationFailed           ErrorCode = 58
	UnknownProducerID                  ErrorCode = 59
	ReassignmentInProgress             ErrorCode = 60
	DelegationTokenAuthDisabled        ErrorCode = 61
	DelegationTokenNotFound            ErrorCode = 62
	DelegationTokenOwnerMismatch       ErrorCode = 63
	DelegationTokenRequestNotAllowed   ErrorCode = 64
	DelegationTokenAuthorizationFailed ErrorCode = 65
	DelegationTokenExpired             ErrorCode = 66
	InvalidPrincipalType               ErrorCode = 67
	NonEmptyGroup                      ErrorCode = 68
	GroupIDNotFound                    ErrorCode = 69
	FetchSessionIDNotFound             ErrorCode = 70
	InvalidFetchSessionEpoch           ErrorCode = 71
	ListenerNotFound                   ErrorCode = 72
	TopicDeletionDisabled              ErrorCode = 73
	FencedLeaderEpoch                  ErrorCode = 74
	UnknownLeaderEpoch                 ErrorCode = 75
	UnsupportedCompressionType         ErrorCode = 76
	StaleBrokerEpoch                   ErrorCode = 77
	OffsetNotAvailable                 ErrorCode = 78
	MemberIDRequired                   ErrorCode = 79
	PreferredLeaderNotAvailable        ErrorCode = 80
	GroupMaxSizeReached                ErrorCode = 81
	FencedInstanceID                   ErrorCode = 82
	EligibleLeadersNotAvailable        ErrorCode = 83
	ElectionNotNeeded                  ErrorCode = 84
	NoReassignmentInProgress           ErrorCode = 85
	GroupSubscribedToTopic             ErrorCode = 86
	InvalidRecord                      ErrorCode = 87
	UnstableOffsetCommit               ErrorCode = 88
	ThrottlingQuotaExceeded            ErrorCode = 89
	ProducerFenced                     ErrorCode = 90
	ResourceNotFound                   ErrorCode = 91
	DuplicateResource                  ErrorCode = 92
	UnacceptableCredential             ErrorCode = 93
	InconsistentVoterSet               ErrorCode = 94
	InvalidUpdateVersion               ErrorCode = 95
	FeatureUpdateFailed                ErrorCode = 96
	PrincipalDeserializationFailure    ErrorCode = 97
	SnapshotNotFound                   ErrorCode = 98
	PositionOutOfRange                 ErrorCode = 99
	UnknownTopicID                     ErrorCode = 100
	DuplicateBrokerRegistration        ErrorCode = 101
	BrokerIDNotRegistered              ErrorCode = 102
	InconsistentTopicID                ErrorCode = 103
	InconsistentClusterID              ErrorCode = 104
	TransactionalIDNotFound            ErrorCode = 105
	FetchSessionTopicIDError           ErrorCode = 106
	IneligibleReplica                  ErrorCode = 107
	NewLeaderElected                   ErrorCode = 108
	OffsetMovedToTieredStorage         ErrorCode = 109
	FencedMemberEpoch                  ErrorCode = 110
	UnreleasedInstanceID               ErrorCode = 111
	UnsupportedAssignor                ErrorCode = 112
	StaleMemberEpoch                   ErrorCode = 113
	MismatchedEndpointType             ErrorCode = 114
	UnsupportedEndpointType            ErrorCode = 115
	UnknownControllerID                ErrorCode = 116
	UnknownSubscriptionID              ErrorCode = 117
	TelemetryTooLarge                  ErrorCode = 118
	InvalidRegistration                ErrorCode = 119
	TransactionAbortable               ErrorCode = 120
	InvalidRecordState                 ErrorCode = 121
	ShareSessionNotFound               ErrorCode = 122
	InvalidShareSessionEpoch           ErrorCode = 123
	FencedStateEpoch                   ErrorCode = 124
	InvalidVoterKey                    ErrorCode = 125
	DuplicateVoter                     ErrorCode = 126
	VoterNotFound                      ErrorCode = 127
	InvalidRegularExpression           ErrorCode = 128
	RebootstrapRequired                ErrorCode = 129
)

type errorInfo struct {
	name      string
	retriable bool // the client may send the same request again
	meaning   string
}

var errorInfos = map[ErrorCode]errorInfo{
	UnknownServerError:                 {"UNKNOWN_SERVER_ERROR", false, "the server met an error it has no code for"},
	None:                               {"NONE", false, "no error"},
	OffsetOutOfRange:                   {"OFFSET_OUT_OF_RANGE", false, "the offset is not within the range kept by the partition"},
	CorruptMessage:                     {"CORRUPT_MESSAGE", true, "the batch failed its checksum or is otherwise malformed"},
	UnknownTopicOrPartition:            {"UNKNOWN_TOPIC_OR_PARTITION", true, "this broker does not host this topic or partition"},
	InvalidFetchSize:                   {"INVALID_FETCH_SIZE", false, "the fetch size is invalid"},
	LeaderNotAvailable:                 {"LEADER_NOT_AVAILABLE", true, "the partition has no leader at present"},
	NotLeaderOrFollower:                {"NOT_LEADER_OR_FOLLOWER", true, "this broker does not lead the partition"},
	RequestTimedOut:                    {"REQUEST_TIMED_OUT", true, "the request was not completed in time; its outcome is unknown"},
	BrokerNotAvailable:                 {"BROKER_NOT_AVAILABLE", false, "the broker is not available"},
	ReplicaNotAvailable:                {"REPLICA_NOT_AVAILABLE", true, "the replica is not available"},
	MessageTooLarge:                    {"MESSAGE_TOO_LARGE", false, "the batch is larger than the topic accepts"},
	StaleControllerEpoch:               {"STALE_CONTROLLER_EPOCH", false, "the controller has moved to another broker"},
	OffsetMetadataTooLarge:             {"OFFSET_METADATA_TOO_LARGE", false, "the metadata of the committed offset is too large"},
	NetworkException:                   {"NETWORK_EXCEPTION", true, "the connection broke before an answer came"},
	CoordinatorLoadInProgress:          {"COORDINATOR_LOAD_IN_PROGRESS", true, "the coordinator is still loading its state"},
	CoordinatorNotAvailable:            {"COORDINATOR_NOT_AVAILABLE", true, "the coordinator is not available"},
	NotCoordinator:                     {"NOT_COORDINATOR", true, "this broker does not coordinate the group or transaction"},
	InvalidTopic:                       {"INVALID_TOPIC_EXCEPTION", false, "the topic name is not valid"},
	RecordListTooLarge:                 {"RECORD_LIST_TOO_LARGE", false, "the batches are larger than a segment of the topic"},
	NotEnoughReplicas:                  {"NOT_ENOUGH_REPLICAS", true, "fewer replicas are in sync than min.insync.replicas asks for"},
	NotEnoughReplicasAfterAppend:       {"NOT_ENOUGH_REPLICAS_AFTER_APPEND", true, "the batch was appended, but fewer replicas are in sync than min.insync.replicas asks for"},
	InvalidRequiredAcks:                {"INVALID_REQUIRED_ACKS", false, "acks must be 0, 1 or -1"},
	IllegalGeneration:                  {"ILLEGAL_GENERATION", false, "the generation of the group is another one"},
	InconsistentGroupProtocol:          {"INCONSISTENT_GROUP_PROTOCOL", false, "the member's protocols do not fit those of the group"},
	InvalidGroupID:                     {"INVALID_GROUP_ID", false, "the group id is not valid"},
	UnknownMemberID:                    {"UNKNOWN_MEMBER_ID", false, "the group does not know this member"},
	InvalidSessionTimeout:              {"INVALID_SESSION_TIMEOUT", false, "the session timeout is outside the limits of the broker"},
	RebalanceInProgress:                {"REBALANCE_IN_PROGRESS", false, "the group is rebalancing"},
	InvalidCommitOffsetSize:            {"INVALID_COMMIT_OFFSET_SIZE", false, "the committed offset's data are too large"},
	TopicAuthorizationFailed:           {"TOPIC_AUTHORIZATION_FAILED", false, "not authorized for this topic"},
	GroupAuthorizationFailed:           {"GROUP_AUTHORIZATION_FAILED", false, "not authorized for this group"},
	ClusterAuthorizationFailed:         {"CLUSTER_AUTHORIZATION_FAILED", false, "not authorized for this cluster operation"},
	InvalidTimestamp:                   {"INVALID_TIMESTAMP", false, "the record's timestamp is outside the limits of the topic"},
	UnsupportedSASLMechanism:           {"UNSUPPORTED_SASL_MECHANISM", false, "the SASL mechanism is not enabled"},
	IllegalSASLState:                   {"ILLEGAL_SASL_STATE", false, "the request does not fit the state of the SASL exchange"},
	UnsupportedVersion:                 {"UNSUPPORTED_VERSION", false, "the version of this API is not supported"},
	TopicAlreadyExists:                 {"TOPIC_ALREADY_EXISTS", false, "a topic of this name exists"},
	InvalidPartitions:                  {"INVALID_PARTITIONS", false, "the number of partitions is not valid"},
	InvalidReplicationFactor:           {"INVALID_REPLICATION_FACTOR", false, "the replication factor is not valid"},
	InvalidReplicaAssignment:           {"INVALID_REPLICA_ASSIGNMENT", false, "the replica assignment is not valid"},
	InvalidConfig:                      {"INVALID_CONFIG", false, "the configuration is not valid"},
	NotController:                      {"NOT_CONTROLLER", true, "this broker is not the controller"},
	InvalidRequest:                     {"INVALID_REQUEST", false, "the request is malformed"},
	UnsupportedForMessageFormat:        {"UNSUPPORTED_FOR_MESSAGE_FORMAT", false, "the message format on the broker does not support the request"},
	PolicyViolation:                    {"POLICY_VIOLATION", false, "the request violates a policy of the cluster"},
	OutOfOrderSequenceNumber:           {"OUT_OF_ORDER_SEQUENCE_NUMBER", false, "the producer's sequence number does not follow its last one"},
	DuplicateSequenceNumber:            {"DUPLICATE_SEQUENCE_NUMBER", false, "the producer sent this sequence number before"},
	InvalidProducerEpoch:               {"INVALID_PRODUCER_EPOCH", false, "the producer's epoch is an old one"},
	InvalidTxnState:                    {"INVALID_TXN_STATE", false, "the transaction is not in a state for this operation"},
	InvalidProducerIDMapping:           {"INVALID_PRODUCER_ID_MAPPING", false, "the producer id does not belong to this transactional id"},
	InvalidTransactionTimeout:          {"INVALID_TRANSACTION_TIMEOUT", false, "the transaction timeout is outside the limits of the broker"},
	ConcurrentTransactions:             {"CONCURRENT_TRANSACTIONS", true, "another operation on this transaction is going on"},
	TransactionCoordinatorFenced:       {"TRANSACTION_COORDINATOR_FENCED", false, "the transaction coordinator is not the current one"},
	TransactionalIDAuthorizationFailed: {"TRANSACTIONAL_ID_AUTHORIZATION_FAILED", false, "not authorized for this transactional id"},
	SecurityDisabled:                   {"SECURITY_DISABLED", false, "security features are disabled"},
	OperationNotAttempted:              {"OPERATION_NOT_ATTEMPTED", false, "the operation was not attempted"},
	KafkaStorageError:                  {"KAFKA_STORAGE_ERROR", true, "the log directory of the partition is offline"},
	LogDirNotFound:                     {"LOG_DIR_NOT_FOUND", false, "the log directory does not exist"},
	SASLAuthenticationFailed:           {"SASL_AUTHENTICATION_FAILED", false, "SASL authentication failed"},
	UnknownProducerID:                  {"UNKNOWN_PRODUCER_ID", false, "the broker knows nothing of this producer id"},
	ReassignmentInProgress:             {"REASSIGNMENT_IN_PROGRESS", false, "a reassignment of the partition is going on"},
	DelegationTokenAuthDisabled:        {"DELEGATION_TOKEN_AUTH_DISABLED", false, "delegation tokens are disabled"},
	DelegationTokenNotFound:            {"DELEGATION_TOKEN_NOT_FOUND", false, "the delegation token does not exist"},
	DelegationTokenOwnerMismatch:       {"DELEGATION_TOKEN_OWNER_MISMATCH", false, "the delegation token belongs to another"},
	DelegationTokenRequestNotAllowed:   {"DELEGATION_TOKEN_REQUEST_NOT_ALLOWED", false, "delegation tokens cannot be asked for on this connection"},
	DelegationTokenAuthorizationFailed: {"DELEGATION_TOKEN_AUTHORIZATION_FAILED", false, "not authorized for this delegation token"},
	DelegationTokenExpired:             {"DELEGATION_TOKEN_EXPIRED", false, "the delegation token has expired"},
	InvalidPrincipalType:               {"INVALID_PRINCIPAL_TYPE", false, "the principal type is not supported"},
	NonEmptyGroup:                      {"NON_EMPTY_GROUP", false, "the group has members"},
	GroupIDNotFound:                    {"GROUP_ID_NOT_FOUND", false, "the group does not exist"},
	FetchSessionIDNotFound:             {"FETCH_SESSION_ID_NOT_FOUND", true, "the fetch session does not exist"},
	InvalidFetchSessionEpoch:           {"INVALID_FETCH_SESSION_EPOCH", true, "the fetch session is in another epoch"},
	ListenerNotFound:                   {"LISTENER_NOT_FOUND", true, "the leader has no listener of this name"},
	TopicDeletionDisabled:              {"TOPIC_DELETION_DISABLED", false, "topic deletion is disabled"},
	FencedLeaderEpoch:                  {"FENCED_LEADER_EPOCH", true, "the leader epoch is older than the partition's"},
	UnknownLeaderEpoch:                 {"UNKNOWN_LEADER_EPOCH", true, "the leader epoch is newer than this broker knows"},
	UnsupportedCompressionType:         {"UNSUPPORTED_COMPRESSION_TYPE", false, "the compression type is not supported"},
	StaleBrokerEpoch:                   {"STALE_BROKER_EPOCH", false, "the broker epoch is an old one"},
	OffsetNotAvailable:                 {"OFFSET_NOT_AVAILABLE", true, "the leader's high watermark has not caught up with its epoch yet"},
	MemberIDRequired:                   {"MEMBER_ID_REQUIRED", false, "the member must join again with the id it was given"},
	PreferredLeaderNotAvailable:        {"PREFERRED_LEADER_NOT_AVAILABLE", true, "the preferred leader is not available"},
	GroupMaxSizeReached:                {"GROUP_MAX_SIZE_REACHED", false, "the group has as many members as it may have"},
	FencedInstanceID:                   {"FENCED_INSTANCE_ID", false, "another member uses this static id"},
	EligibleLeadersNotAvailable:        {"ELIGIBLE_LEADERS_NOT_AVAILABLE", true, "no eligible leader is available"},
	ElectionNotNeeded:                  {"ELECTION_NOT_NEEDED", true, "the partition has the wanted leader already"},
	NoReassignmentInProgress:           {"NO_REASSIGNMENT_IN_PROGRESS", false, "no reassignment of the partition is going on"},
	GroupSubscribedToTopic:             {"GROUP_SUBSCRIBED_TO_TOPIC", false, "a member of the group is subscribed to the topic"},
	InvalidRecord:                      {"INVALID_RECORD", false, "a record is not valid for the topic"},
	UnstableOffsetCommit:               {"UNSTABLE_OFFSET_COMMIT", true, "the offset belongs to a transaction that is not decided yet"},
	ThrottlingQuotaExceeded:            {"THROTTLING_QUOTA_EXCEEDED", true, "the quota is exceeded"},
	ProducerFenced:                     {"PRODUCER_FENCED", false, "a newer instance of the producer exists"},
	ResourceNotFound:                   {"RESOURCE_NOT_FOUND", false, "the resource does not exist"},
	DuplicateResource:                  {"DUPLICATE_RESOURCE", false, "the request names a resource twice"},
	UnacceptableCredential:             {"UNACCEPTABLE_CREDENTIAL", false, "the credential is not acceptable"},
	InconsistentVoterSet:               {"INCONSISTENT_VOTER_SET", false, "the voter sets differ"},
	InvalidUpdateVersion:               {"INVALID_UPDATE_VERSION", false, "the version of the update is not valid"},
	FeatureUpdateFailed:                {"FEATURE_UPDATE_FAILED", false, "the feature could not be updated"},
	PrincipalDeserializationFailure:    {"PRINCIPAL_DESERIALIZATION_FAILURE", false, "the forwarded principal cannot be read"},
	SnapshotNotFound:                   {"SNAPSHOT_NOT_FOUND", false, "the snapshot does not exist"},
	PositionOutOfRange:                 {"POSITION_OUT_OF_RANGE", false, "the position is outside the snapshot"},
	UnknownTopicID:                     {"UNKNOWN_TOPIC_ID", true, "this broker does not host a topic of this id"},
	DuplicateBrokerRegistration:        {"DUPLICATE_BROKER_REGISTRATION", false, "a live broker has this id"},
	BrokerIDNotRegistered:              {"BROKER_ID_NOT_REGISTERED", false, "no broker of this id is registered"},
	InconsistentTopicID:                {"INCONSISTENT_TOPIC_ID", true, "the topic id in the log is another one"},
	InconsistentClusterID:              {"INCONSISTENT_CLUSTER_ID", false, "the cluster id is another one"},
	TransactionalIDNotFound:            {"TRANSACTIONAL_ID_NOT_FOUND", false, "the transactional id does not exist"},
	FetchSessionTopicIDError:           {"FETCH_SESSION_TOPIC_ID_ERROR", true, "the fetch session mixes topic names and ids"},
	IneligibleReplica:                  {"INELIGIBLE_REPLICA", false, "a replica may not join the in-sync replicas"},
	NewLeaderElected:                   {"NEW_LEADER_ELECTED", false, "the change made another replica the leader"},
	OffsetMovedToTieredStorage:         {"OFFSET_MOVED_TO_TIERED_STORAGE", false, "the offset is in tiered storage"},
	FencedMemberEpoch:                  {"FENCED_MEMBER_EPOCH", false, "the member epoch is fenced"},
	UnreleasedInstanceID:               {"UNRELEASED_INSTANCE_ID", false, "another member still holds this static id"},
	UnsupportedAssignor:                {"UNSUPPORTED_ASSIGNOR", false, "the assignor is not supported"},
	StaleMemberEpoch:                   {"STALE_MEMBER_EPOCH", false, "the member epoch is an old one"},
	MismatchedEndpointType:             {"MISMATCHED_ENDPOINT_TYPE", false, "the request went to the wrong kind of endpoint"},
	UnsupportedEndpointType:            {"UNSUPPORTED_ENDPOINT_TYPE", false, "the kind of endpoint is not supported"},
	UnknownControllerID:                {"UNKNOWN_CONTROLLER_ID", false, "the controller id is not known"},
	UnknownSubscriptionID:              {"UNKNOWN_SUBSCRIPTION_ID", false, "the telemetry subscription is not known"},
	TelemetryTooLarge:                  {"TELEMETRY_TOO_LARGE", false, "the telemetry is too large"},
	InvalidRegistration:                {"INVALID_REGISTRATION", false, "the registration of the controller is not valid"},
	TransactionAbortable:               {"TRANSACTION_ABORTABLE", false, "the transaction must be aborted"},
	InvalidRecordState:                 {"INVALID_RECORD_STATE", false, "the record is not in a state for this operation"},
	ShareSessionNotFound:               {"SHARE_SESSION_NOT_FOUND", true, "the share session does not exist"},
	InvalidShareSessionEpoch:           {"INVALID_SHARE_SESSION_EPOCH", true, "the share session is in another epoch"},
	FencedStateEpoch:                   {"FENCED_STATE_EPOCH", false, "the state epoch is fenced"},
	InvalidVoterKey:                    {"INVALID_VOTER_KEY", false, "the voter key is not the expected one"},
	DuplicateVoter:                     {"DUPLICATE_VOTER", false, "the voter is in the voter set"},
	VoterNotFound:                      {"VOTER_NOT_FOUND", false, "the voter is not in the voter set"},
	InvalidRegularExpression:           {"INVALID_REGULAR_EXPRESSION", false, "the regular expression is not valid"},
	RebootstrapRequired:                {"REBOOTSTRAP_REQUIRED", false, "the client must begin with its bootstrap servers again"},
}

// Name returns the code as Kafka spells it, such as NOT_LEADER_OR_FOLLOWER.
func (c ErrorCode) Name() string {
	if info, ok := errorInfos[c]; ok {
		return info.name
	}
	return fmt.Sprintf("ERROR_%d", int16(c))
}

// Retriable says that the same request may succeed later.
func (c ErrorCode) Retriable() bool { return errorInfos[c].retriable }

// Error returns the name and what it means.
func (c ErrorCode) Error() string {
	if info, ok := errorInfos[c]; ok {
		return info.name + ": " + info.meaning
	}
	return c.Name()
}

// Err returns c as an error, and nil for None.
func (c ErrorCode) Err() error {
	if c == None {
		return nil
	}
	return c
}

// CodedError is an ErrorCode with a sentence for a person about this very case.
type CodedError struct {
	Code    ErrorCode
	Message string
}

func (e *CodedError) Error() string { return e.Code.Name() + ": " + e.Message }

// Unwrap makes errors.Is(err, code) hold.
func (e *CodedError) Unwrap() error { return e.Code }

// Errorf returns a CodedError.
func Errorf(code ErrorCode, format string, args ...any) error {
	return &CodedError{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Code returns the code that err carries. An error that carries none is an UnknownServerError;
// nil is None.
func Code(err error) ErrorCode {
	if err == nil {
		return None
	}
	var code ErrorCode
	if errors.As(err, &code) {
		return code
	}
	return UnknownServerError
}

// Sentence returns what err says to a person beyond its code, or "" when it says nothing more.
func Sentence(err error) string {
	var coded *CodedError
	if errors.As(err, &coded) {
		return coded.Message
	}
	return ""
}
