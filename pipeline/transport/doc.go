// Package transport holds the HTTP rules that downloads, the Platform API and blob
// stores share: values that are never printed, one renderer for transport errors, waiting
// between attempts, readers that notice a stall, and transports with time limits.
//
// It sends no request by itself, follows no redirect, and never uses
// http.DefaultClient. Which request may be sent again is for its callers to know.
package transport
